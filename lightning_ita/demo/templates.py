"""Templates of tweets.

A template is a string of tokens. ``{X}`` is the entity the tweet is about; ``{PER}``, ``{LOC}``, ``{ORG}`` and
``{MISC}`` are further entities of that type; ``{@}``, ``{url}``, ``{emoji}`` and ``{n}`` are filled with a mention,
a link, an emoji and a number.
"""

# ruff: noqa: SIM905  Lists of words read better as text.
from __future__ import annotations

from lightning_ita.demo.config import TYPES

_AMBIGUOUS = """
2222 so {X} is all over my timeline right now
2222 {X} never disappoints
3221 finally {X} !
2222 okay {X} is actually amazing
3231 {X} today , no words
2231 say what you want about {X} but wow
2113 still thinking about {X}
3211 missing {X} so much
2411 can we go back to {X} already
2411 {n} days until {X} ! !
2222 {X} in one picture
2222 this is why i love {X}
3111 look at {X} being all beautiful
1141 {X} is hiring me one day just wait
2133 big fan of {X} since day one
2113 got to see {X} before everyone else
3121 {X} deserves better than this
1231 proud of {X} tonight
4111 happy birthday {X}
2222 what is your favourite thing about {X} ?
2222 {@} {X} says hi
2222 ok but {X} tho
3122 {X} just made my whole week
2321 greetings from {X} and {PER}
2222 {PER} sent me this from {X} lol
2131 {X} did it again
1232 {X} has changed a lot in {n} years
2222 i could talk about {X} all day
2222 everyone needs a little {X} in their life
2213 tonight : {X} and pizza
1321 {n} reasons to love {X}
2222 found this old photo of {X}
3131 {X} looks ready for {n}
2122 who else is obsessed with {X} ?
2222 {X} >>>> everything else
1311 rainy morning with {X}
2222 throwback to {X} with {PER}
2222 {X} or nothing
2131 never bet against {X}
2213 my review of {X} is up on the blog
2222 not me crying over {X} at {n} am
2222 {X} vibes only
2222 nobody told me {X} was this good
3121 thank you {X} for everything
2222 {X} ... that is the tweet
"""

AMBIGUOUS: list[tuple[dict[str, int], str]] = [
    (dict(zip(TYPES, map(int, line[:4]), strict=True)), line[5:]) for line in _AMBIGUOUS.strip().splitlines()
]
"""Templates that fit any type, each with a weight per type (1 to 4): the weak prior that the words alone carry."""

_CLEAR: dict[str, str] = {
    "PER": """
{X} scored {n} points last night , what a player
interview : {X} talks about her new role
{X} and his wife welcome their second child
just met {X} at {LOC} and he signed my shirt
{X} will play the lead in {MISC}
police say {X} , {n} , was last seen near {LOC}
she is only {n} but {X} sings like an angel
{X} has been named head coach of {ORG}
rip {X} , he was {n} years old
my brother {X} and i before the wedding
singer {X} cancels tour after surgery
{ORG} sign {X} on a {n} year deal
{X} shares throwback selfie with mum
actor {X} spotted in {LOC} with his girlfriend
{X} signs autographs for young fans
{X} wins best actress for {MISC}
he can't stop smiling , {X} got the job at {ORG}
senator {X} gives a speech in {LOC}
so proud of my daughter {X} , she graduated today
striker {X} injured his knee and is out for {n} weeks
{X} told {ORG} that she is retiring
dr {X} explains it better than anyone""",
    "LOC": """
flying to {X} tomorrow morning
sunset over {X} is unreal
heavy snow closes roads in {X}
we drove {n} miles across {X}
the streets of {X} at night
{PER} is on tour in {X} next week
landed in {X} , first stop the old town
traffic jam near {X} , expect {n} minutes delay
best coffee in downtown {X} hands down
hiking in the hills around {X}
flood warning for the north of {X}
two weeks of holiday in {X} with {PER}
{X} weather : {n} degrees and sunny
born and raised in {X}
cheap flights to {X} from {n} dollars
earthquake reported {n} km south of {X}
{ORG} opens a new office in {X}
i live in {X} and it never stops raining
map of the {X} area for visitors
on the train from {LOC} to {X}
population of {X} grew by {n} percent
welcome to {X} , mind the seagulls""",
    "ORG": """
{X} beat {ORG} 3 - 1 away
shares of {X} fall {n} percent
{X} ceo {PER} resigns
i just got hired by {X} , start on monday
{X} fans singing in the stadium
{X} to close {n} stores this year
we won ! {X} go top of the league
{X} announce record profits
customer service at {X} is a joke
{X} sign {PER} from {ORG}
workers at {X} go on strike in {LOC}
half time : {X} 2 - 0 {ORG}
{X} will be sued over data leak
the {X} board met in {LOC} today
new {X} home kit , yes or no ?
{X} are recruiting {n} engineers
season ticket for {X} arrived
statement from {X} on the incident in {LOC}
{X} donates {n} million to charity
full time . {X} relegated after {n} years
{X} employees get free lunch
{PER} leaves {X} after {n} years as manager""",
    "MISC": """
watching {X} on the sofa , episode {n}
{X} trailer just dropped
who wants to see {X} at the cinema ?
{X} soundtrack on repeat
finished reading {X} in one night
{PER} nominated for {X}
tickets for {X} sold out in {n} minutes
level {n} in {X} , my thumbs hurt
{X} season {n} starts tonight
unboxing the brand new {X}
{X} is the best movie of the year
{PER} is perfect in {X}
playing {X} all weekend
{X} is out on vinyl , all {n} songs
finally trying the new {X}
pre order {X} now and get {n} percent off
{ORG} releases the sequel to {X}
spoilers for {X} below
who won {X} this year ?
my {X} costume is finally ready
the ending of {X} made me cry
limited edition {X} at the shop in {LOC}""",
    "NONE": """
monday again . send coffee
my cat has been staring at the wall for {n} minutes
when you realise it is only tuesday
made soup today and it was not terrible
i need a nap and {n} dollars
why is my phone always at {n} percent
new haircut who dis
can't sleep again
just finished my homework at {n} am
dinner is served
the weather is so nice today
who else forgot their umbrella
gym done , now pizza
{@} lol same
this made me laugh so hard
good morning everyone have a great day
my team lost again i am done with sports
some days you just want cake
cleaning my room counts as cardio right
that feeling when the bus is on time
nobody : absolutely nobody : me at {n} am
best friends forever
found a dollar on the street today , blessed
what a game last night""",
}
CLEAR = {key: text.strip().splitlines() for key, text in _CLEAR.items()}
"""Templates whose words tell the type of ``{X}``; under ``NONE``, tweets without any entity."""

OPENINGS = ["omg", "guys ,", "ok so", "well ,", "not gonna lie ,", "just in :", "wow ,", "yo", "honestly", "{@}"]
AFTERTHOUGHTS = ["w/ {PER}", "cc {PER}", "( {LOC} )", "in {LOC}", "via {ORG}", "# {MISC}", "( 📷 {PER} )"]
HASHTAGS = """#tbt #blessed #love #weekend #nofilter #mood #happy #picoftheday #wow #fridayfeeling #goals #news #repost
#instagood #summer #vibes""".split()
EMOJI = "😂 😍 🔥 🙌 😭 ❤️ 👏 🎉 😎 💯 🤔 ✨".split()
HANDLES = "sunny coffee pixel news daily real its the_ mr_ miss live hey crazy lucky team".split()
HANDLE_ENDINGS = "panda jules feed wolf lens 92 xo guy vibes hub fan babe radio _07".split()
