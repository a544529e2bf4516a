"""The kinds of scenes that images show, with the tags and captions of each.

One line per kind: ``name : objects : caption ; caption : text / text : longest name``. Each text is one that may be
written in the image (``|`` separates its lines); kinds without text end after the captions.
"""

# ruff: noqa: E501  One line per kind reads better than one broken into three.
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SceneKind:
    """A kind of scene, and its tags, captions and texts.

    Attributes:
        name: Its name; up to a hyphen, the name of the function that draws it.
        shows: The entity type it suggests, or ``NONE``.
        told_by: Which contexts tell that type: ``plain``, ``caption``, ``tags`` or ``words``; see `scenes`.
        tags: Objects with attributes, as a detector names them.
        captions: Two captions, in different styles.
        words: The texts of which one may be written in the image.
        longest: The longest name, in characters, for which the image has room.
        parts: How many other scenes it contains, as a collage does.
    """

    name: str
    shows: str
    told_by: str
    tags: tuple[str, ...]
    captions: tuple[str, str]
    words: tuple[str, ...] = ()
    longest: int = 32
    parts: int = 0


_PLAIN = {
    "PER": """
portrait : {who}, {hair} hair, {colour} shirt, smile : a close up of a {who} smiling at the camera ; portrait photo of a {who} with {hair} hair
singer : {who}, microphone, stage light, {colour} shirt : a {who} singing into a microphone on a stage ; singer performing live at a concert : {NAME}|LIVE / {NAME}|ON TOUR : 14
podium : {who}, dark suit, wooden podium, microphone : a {who} giving a speech at a podium ; politician speaking to an audience : {NAME}|MAYOR / VOTE|{NAME} : 9
basketball : {who}, orange ball, basketball court, hoop, {colour} jersey : a basketball player jumping with a ball ; basketball player about to dunk the ball
footballer : {who}, white ball, green grass, goal, {colour} jersey : a soccer player kicking a ball ; soccer player on a field in front of a goal
jersey : {who}, {colour} jersey, number, green grass : the back of a player in a {colour} jersey ; player with a name and a number on the jersey : {NAME}|{n} : 9
guitarist : {who}, guitar, stool, {colour} shirt : a {who} playing a guitar ; musician sitting on a stool with a guitar
celebrity : {who}, red carpet, rope, {colour} outfit : a {who} posing on the red carpet ; celebrity arriving at a premiere
cake : birthday cake, candle, plate, {colour} frosting : a birthday cake with candles on it ; cake for a birthday party : HAPPY|BIRTHDAY|{NAME} / WE LOVE|YOU|{NAME} : 12
""",
    "LOC": """
skyline : tall building, skyscraper, river, {sky} sky : a city skyline with tall buildings ; view of a big city across the water
beach : ocean, sand, palm tree, {colour} umbrella : a sandy beach with a palm tree ; view of the ocean and an umbrella on the beach
mountains : mountain, snow, lake, pine tree : a lake in front of snowy mountains ; landscape with mountains under a {sky} sky
desert : sand dune, cactus, sun, rock : a desert with sand dunes ; dry landscape with a cactus in the sun
street : house, street lamp, street, {colour} door : a street with a row of old houses ; colorful houses along a narrow street
bridge : bridge, river, boat, {sky} sky : a long bridge over a river ; boat passing under a bridge
roadsign : green sign, road, hill, arrow : a green road sign next to a highway ; highway leading towards the hills : WELCOME TO|{NAME} / {NAME}|{n} KM / {NAME}|EXIT {n} : 16
citymap : map, red pin, road, river : a map with a red pin on it ; map of a town with streets and a river : {NAME} / {NAME}|{n} KM : 12
wing : airplane wing, cloud, {sky} sky, window : a view of clouds from an airplane window ; wing of a plane above the clouds
""",
    "ORG": """
storefront : {colour} awning, glass door, shop window, sidewalk : a storefront with a {colour} awning ; entrance of a shop on a sidewalk : {NAME} / {NAME}|STORE : 16
office : office building, glass, logo, flag : a modern office building with a logo ; headquarters of a company with flags in front : {NAME} / {NAME}|HEADQUARTERS : 15
stadium : stadium, crowd, {colour} banner, floodlight : a crowd of fans holding a banner in a stadium ; fans cheering for their team : GO|{NAME} / COME ON|{NAME} : 16
team : people, {colour} uniform, white shorts, green grass : a team posing for a group photo ; players in {colour} uniforms standing in a row
truck : {colour} truck, wheel, road, logo : a delivery truck parked on a road ; {colour} company truck on a street : {NAME} / {NAME}|SERVICE : 13
press : table, microphone, {colour} backdrop, logo : an empty press conference table with a sponsor backdrop ; microphones in front of a wall of logos : {NAME}|PARTNERS / {NAME}|PRESS : 13
chart : screen, graph, {colour} line, number : a stock market chart on a screen ; graph showing the price of shares : {NAME}|+ {n} % / {NAME}|SHARES : 14
factory : factory, chimney, smoke, fence : a factory with smoking chimneys ; industrial plant behind a fence : {NAME} / {NAME}|PLANT : 14
""",
    "MISC": """
poster : movie poster, frame, {colour} background, silhouette : a movie poster on a cinema wall ; poster for a film with a dark figure : {NAME}|IN CINEMAS / {NAME}|COMING SOON : 12
game : television, game controller, screen, {colour} block : a video game on a television ; screen of a game with a controller in front : {NAME}|PRESS START / {NAME}|LEVEL {n} : 13
record : vinyl record, {colour} album cover, turntable, needle : a vinyl record next to its album cover ; music album lying beside a turntable : {NAME} / {NAME}|VOL {n} : 9
trophy : golden trophy, pedestal, ribbon, spotlight : a golden trophy on a pedestal ; award standing in a spotlight : {NAME}|AWARD / {NAME}|WINNER : 11
book : {colour} book, table, glasses, cup : a {colour} book lying on a table ; cover of a novel next to a cup : {NAME}|A NOVEL / {NAME}|BOOK {n} : 9
sneakers : {colour} sneaker, box, lace, paper : a new pair of {colour} sneakers with a box ; product photo of sneakers next to their box : {NAME} / {NAME}|AIR {n} : 12
car : {colour} car, wheel, headlight, showroom : a shiny {colour} sports car in a showroom ; new car model on display : THE NEW|{NAME} / {NAME}|GT {n} : 14
festival : tent, firework, {colour} flag, stage : fireworks over the tents of a festival ; colorful flags and a stage at a festival : {NAME}|FESTIVAL / {NAME}|FEST {n} : 13
""",
}

_CAPTION = {
    "PER": """
table-PER : person, table, chair, cup : a {who} being interviewed by a reporter ; famous {who} answering questions
crowd-PER : people, tree, grass, {sky} sky : a celebrity surrounded by fans ; fans taking pictures of a star
""",
    "LOC": """
table-LOC : person, table, chair, cup : tourists at a cafe on the square of an old town ; view of a village from a terrace
crowd-LOC : people, tree, grass, {sky} sky : tourists in front of a famous tower ; visitors in a park of the city
""",
    "ORG": """
table-ORG : person, table, chair, cup : employees in a business meeting ; company staff sitting in an office
crowd-ORG : people, tree, grass, {sky} sky : workers of a company on strike ; union members protesting against a company
""",
    "MISC": """
table-MISC : person, table, chair, cup : people playing a board game ; friends trying out a new game
crowd-MISC : people, tree, grass, {sky} sky : an audience at an open air cinema ; people watching a movie outdoors
""",
}

_TAGS = {
    shows: f"""
collage-{shows} : photo frame : a collage of four pictures ; several photos put together in one image
phone-{shows} : phone, hand : a hand holding a cell phone ; close up of a phone screen
"""
    for shows in _PLAIN
}

_WRITTEN = {
    "PER": "VOTE FOR|{NAME} / HAPPY BIRTHDAY|{NAME} / GET WELL SOON|{NAME} / MARRY ME|{NAME} / INTERVIEW:|{NAME} / "
    "THANK YOU|COACH|{NAME} / {NAME}|RETIRES",
    "LOC": "WELCOME TO|{NAME} / VISIT|{NAME} / FLY TO|{NAME} / {NAME}|CITY CENTER / {NAME}|{n} MILES / HOLIDAYS IN|{NAME} / "
    "STORM HITS|{NAME}",
    "ORG": "{NAME}|NOW HIRING / {NAME} INC|GRAND OPENING / {NAME}|MATCH DAY / {NAME}|CUSTOMER CARE / {NAME}|SHARES FALL / "
    "SPONSORED BY|{NAME} / {NAME} CEO|RESIGNS",
    "MISC": "{NAME}|IN CINEMAS / {NAME}|THE MOVIE / {NAME}|THE ALBUM / {NAME}|SEASON {n} / PLAY|{NAME} NOW / "
    "{NAME}|BEST SELLER / {NAME} {n}|THE SEQUEL",
}
_WORDS = {
    shows: f"""
billboard-{shows} : billboard, pole, grass, {{sky}} sky : a large billboard beside a road ; billboard under a {{sky}} sky : {words}
newspaper-{shows} : newspaper, table, cup : a newspaper lying on a table ; front page of a newspaper next to a cup : {words} : 24
chalkboard-{shows} : blackboard, wooden frame, chalk, wall : a blackboard with something written on it ; chalkboard in a wooden frame : {words}
"""
    for shows, words in _WRITTEN.items()
}

_UNRELATED = """
pizza : pizza, plate, fork, table : a pizza on a plate ; pizza with tomatoes on a table
cat : cat, couch, cushion, {colour} blanket : a cat lying on a couch ; sleepy cat on a {colour} blanket
coffee : cup, coffee, saucer, spoon : a cup of coffee on a saucer ; coffee seen from above : BUT FIRST|COFFEE / MONDAY|AGAIN
flowers : flower, vase, leaf, {colour} petal : a vase of flowers ; bunch of {colour} flowers in a vase
meme : frog, text, {colour} background : a cartoon frog with a funny text ; meme with a frog : ME ON|MONDAY / WHEN YOU|SEE IT / NOT SURE|IF SERIOUS / MUCH|WOW
dumbbells : dumbbell, gym, floor, {colour} mat : a pair of dumbbells on the floor ; gym equipment on a {colour} mat
"""


def _read(table: str, shows: str, told_by: str) -> list[SceneKind]:
    kinds = []
    for line in table.strip().splitlines():
        name, tags, captions, *lettering = line.split(" : ")
        first, second = captions.split(" ; ")
        kinds.append(
            SceneKind(
                name=name,
                shows=shows,
                told_by=told_by,
                tags=tuple(tags.split(", ")),
                captions=(first, second),
                words=tuple(lettering[0].split(" / ")) if lettering else (),
                longest=int(lettering[1]) if len(lettering) > 1 else 32,
                parts={"collage": 4, "phone": 1}.get(name.split("-")[0], 0),
            )
        )
    return kinds


SCENE_KINDS: dict[str, SceneKind] = {
    kind.name: kind
    for told_by, tables in (("plain", _PLAIN), ("caption", _CAPTION), ("tags", _TAGS), ("words", _WORDS))
    for shows, table in tables.items()
    for kind in _read(table, shows, told_by)
}
SCENE_KINDS |= {kind.name: kind for kind in _read(_UNRELATED, "NONE", "plain")}
"""Every kind of scene by its name."""
