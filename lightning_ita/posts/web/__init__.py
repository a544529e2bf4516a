"""A web page for one post at a time: its mentions in both views, what was read in its picture, and what-if contexts."""
