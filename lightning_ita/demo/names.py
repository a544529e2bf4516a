"""Names of entities: ambiguous ones, and ones that have a single type.

People are invented from common first and last names. Places, companies and works are partly real, partly composed.
"""

# ruff: noqa: SIM905  Lists of words read better as text.
from __future__ import annotations

import random

from lightning_ita.demo.config import TYPES

_AMBIGUOUS = """
Jordan 4412   Paris 3512   Chelsea 3251  Washington 3440  Phoenix 3332  Jackson 5301   Amazon 0352   Orlando 4411
Florence 4511 Lincoln 4323 Madison 4410  Santos 4240      Georgia 4501  Austin 4412    Victoria 4323 Mercedes 4045
Houston 3440  Jaguar 0045  Puma 0044     Tesla 3054       Ford 4055     Brooklyn 4512  Chester 5410  Milan 2540
Valencia 2540 Monaco 0540  Liverpool 0550 Leicester 0450  Barcelona 0541 Cleveland 3440 Denver 3530  Dallas 3442
Charlotte 5431 Savannah 4501 Sydney 5501 Troy 5403        Logan 5303    Rocky 5304     Carrie 5005   Zelda 4005
Mario 5105    Moana 4005   Alexa 5025    Fargo 1425       Chicago 0543  Casablanca 0515 Titanic 0115 Dunkirk 0514
Porsche 2045  Bentley 4035 Ferrari 3054  Disney 3053      Dior 3053     Chanel 3054    Gucci 2054    Hilton 5150
Wendy 5040    Macy 5050    Hershey 3352  Boston 2450      Toronto 0550  Carolina 5430  Virginia 5501 Dakota 4502
Cadillac 0145 Lamborghini 3044 Montana 4502 Hudson 5341   Bristol 3530  Lancaster 4521 Carter 5024   Marvel 1055
Apollo 3025   Pandora 3244 Oscar 5005    Emmy 5005        Grammy 0025   Dell 4052      Hamilton 5415 Wembley 0514
San|Jose 1540 St|Louis 1540 New|York 0542 Santa|Fe 0524   Las|Vegas 0532 San|Marino 0530 Green|Bay 0440
Calvin|Klein 5054 Tom|Ford 5044 Harley|Davidson 3045      Jack|Daniels 4035 Lara|Croft 4005 John|Deere 4044
Annie|Hall 5104 Jerry|Maguire 4005 Prince|George 5411     St|James 4431 Erin|Brockovich 5004 Ralph|Lauren 5043
"""

AMBIGUOUS: dict[tuple[str, ...], dict[str, int]] = {
    tuple(name.split("|")): dict(zip(TYPES, map(int, weights), strict=True))
    for name, weights in zip(_AMBIGUOUS.split()[::2], _AMBIGUOUS.split()[1::2], strict=True)
}
"""Each ambiguous name with the weights of its types: how often it occurs with each."""

FIRST = """Emma Liam Olivia Noah Ava Lucas Sofia Ethan Mia Hannah Daniel Grace David Zoe Michael Ella Samuel
Lily Kevin Nora Ryan Amelia Tyler Chloe Adam Ruby Marcus Leah Omar Priya Diego Yuki Ivan Fatima Andre
Ingrid Kofi Mei Pablo Aisha Bruno Clara Felix Greta Hugo Jonas Katya Luis Marta Nadia Oliver Petra Rafael
Selma Tomas Wanda Beatriz""".split()

LAST = """Cole Bennett Hughes Foster Reyes Nguyen Patel Kowalski Murphy Ortiz Fischer Sato Haddad Okafor
Larsen Rossi Moreau Silva Novak Andersson Dubois Campbell Harper Quinn Walsh Brennan Delgado Espinoza
Farrell Gallagher Hoffman Iverson Jimenez Keller Lombardi Mbappe Nakamura Petrov Ramsey Schneider Tanaka
Ueda Vasquez Whitaker Yilmaz Zimmerman Abbott Barrett Calloway Donovan Ellington Fitzgerald Goodwin
Holloway Ibarra Jennings Kaplan Lindqvist""".split()

TOWNS = """London Berlin Madrid Tokyo Mumbai Dublin Seattle Miami Rome Vienna Lisbon Nairobi Lagos Cairo Oslo
Glasgow Leeds Manchester Birmingham Detroit Atlanta Vancouver Montreal Bogota Lima Manila Seoul Bangkok
Jakarta Istanbul Athens Prague Budapest Warsaw Stockholm Helsinki Copenhagen Brussels Amsterdam Munich
Hamburg Naples Turin Porto Seville Malaga Bilbao Nashville Portland Memphis Tulsa Omaha Calgary Perth
Auckland Mesa Aurora Dundee Cardiff Belfast Swansea""".split()

COUNTRIES = """Canada Italy Brazil Kenya Japan Iceland Norway Peru Morocco Vietnam Greece Portugal India
Mexico Ireland Scotland Croatia Thailand Turkey Cuba Nepal Malta Finland Australia|West|Coast New|Zealand
South|Africa""".split()

COMPANIES = """Google Nike NASA BBC CNN Microsoft Samsung Adidas Netflix Walmart Starbucks Toyota IKEA Pfizer
FIFA NFL NBA UNICEF Greenpeace Spotify Airbus Lufthansa Reuters Interpol Vodafone Barclays Tesco Nestle
Unilever Oxfam NHS FBI Red|Cross World|Bank Burger|King Whole|Foods Goldman|Sachs""".split()

EVENTS = """World|Cup Super|Bowl Comic|Con Wimbledon Eurovision Coachella Glastonbury Olympics Brexit
Halloween Nobel|Prize Ballon|d'Or Black|Friday Champions|League Minecraft Pokemon Fortnite iPhone
PlayStation Xbox Frozen Star|Wars Game|of|Thrones Breaking|Bad Stranger|Things The|Office Jurassic|Park""".split()

_ADJECTIVES = "Silent Golden Broken Last Crimson Hidden Electric Endless Frozen Burning Hollow Velvet".split()
_NOUNS = "Empire Horizon Garden Station Kingdom Mirror Shadow River Harvest Signal Winter Machine Ocean".split()
_PLACE_ENDINGS = "Airport|Park|Bridge|Central Station|Beach|Harbour|Old Town|Square".split("|")
_BODY_ENDINGS = "United|Rovers|University|Police|City Council|Times|Orchestra|FC|Wolves|Tigers".split("|")


def zipf(count: int) -> list[float]:
    """Returns weights of ranked items, in which the first are far more frequent, like names in tweets."""
    return [1 / (rank + 4) for rank in range(count)]


def _long_tailed(rng: random.Random, items: list[str]) -> list[str]:
    """Samples one of the items, the first ones more often, and returns its words."""
    return rng.choices(items, weights=zipf(len(items)))[0].split("|")


def clear_name(rng: random.Random, entity_type: str) -> tuple[str, ...]:
    """Samples a name that has one type only, and returns its words."""
    dice = rng.random()
    if entity_type == "PER":
        first, last = rng.choice(FIRST), rng.choice(LAST)
        return (first, last) if dice < 0.6 else (first,) if dice < 0.8 else (last,)
    town = _long_tailed(rng, TOWNS)
    if entity_type == "LOC":
        if dice < 0.5:
            return tuple(town)
        return tuple(_long_tailed(rng, COUNTRIES) if dice < 0.75 else [*town, *rng.choice(_PLACE_ENDINGS).split()])
    if entity_type == "ORG":
        return tuple(_long_tailed(rng, COMPANIES) if dice < 0.55 else [*town, *rng.choice(_BODY_ENDINGS).split()])
    if dice < 0.55:
        return tuple(_long_tailed(rng, EVENTS))
    adjective, noun, other = rng.choice(_ADJECTIVES), *rng.sample(_NOUNS, 2)
    return (adjective, noun) if dice < 0.8 else (noun, "of", other)


def ranked_ambiguous_names(seed: int) -> list[tuple[str, ...]]:
    """Returns the ambiguous names, from frequent to rare."""
    return random.Random(f"{seed}/ranks").sample(sorted(AMBIGUOUS), len(AMBIGUOUS))


def held_out_names(seed: int, rate: float) -> frozenset[tuple[str, ...]]:
    """Returns the ambiguous names that never occur in training: a share of them, spread evenly over the ranks."""
    names = ranked_ambiguous_names(seed)
    return frozenset(name for rank, name in enumerate(names) if int((rank + 1) * rate + 1e-9) > int(rank * rate + 1e-9))
