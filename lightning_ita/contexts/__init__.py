"""Images to text: the visual contexts a tweet is read with."""
