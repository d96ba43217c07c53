"""The words of the demonstration language: English with its German and Spanish counterparts.

Each table is a text with one entry per line and columns divided by ``|``, so that somebody who
speaks the languages can check and extend it without reading the program.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Noun:
    """A noun; ``kinds`` say which verbs take it. An empty plural means that there is none."""

    english: str
    english_plural: str
    german_gender: str
    german: str
    german_plural: str
    german_oblique: str
    spanish_gender: str
    spanish: str
    spanish_plural: str
    kinds: frozenset[str]


@dataclass(frozen=True)
class Adjective:
    """An adjective; German with the stem that endings are added to, where it differs."""

    english: str
    german: str
    german_stem: str
    spanish: str
    spanish_verb: str


@dataclass(frozen=True)
class Verb:
    """A verb; ``kinds`` of objects that it takes, none for an intransitive one.

    ``german_case`` is that of the object, ``german_reflexive`` the case of *sich*. Spanish forms
    are those of I, you, he, we, they. An empty English past keeps the verb out of past tenses:
    its past would be spelled, and spoken by the synthesiser, like its present.
    """

    english: str
    english_third: str
    english_past: str
    german: str
    german_prefix: str
    german_second: str
    german_third: str
    german_participle: str
    german_auxiliary: str
    german_case: str
    german_reflexive: str
    spanish: str
    spanish_present: tuple[str, ...]
    spanish_past: tuple[str, ...]
    spanish_reflexive: bool
    kinds: frozenset[str]


@dataclass(frozen=True)
class Place:
    """A place: where something happens, and where somebody goes."""

    english_at: str
    english_to: str
    german_at: str
    german_to: str
    spanish_at: str
    spanish_to: str


@dataclass(frozen=True)
class Time:
    """A time, with the tenses that it goes with."""

    english: str
    german: str
    spanish: str
    tenses: frozenset[str]


# english, plural | gender german, plural, oblique singular of weak nouns | gender spanish, plural
_THINGS = """
food | apple, apples | m Apfel, Äpfel | f manzana
food | banana, bananas | f Banane, Bananen | m plátano
food | bread | n Brot | m pan
food | cake, cakes | m Kuchen, Kuchen | m pastel
food | egg, eggs | n Ei, Eier | m huevo
food | orange, oranges | f Orange, Orangen | f naranja
food | potato, potatoes | f Kartoffel, Kartoffeln | f patata
food | tomato, tomatoes | f Tomate, Tomaten | m tomate
food | fish | m Fisch | m pescado
food | soup, soups | f Suppe, Suppen | f sopa
food | salad, salads | m Salat, Salate | f ensalada
food | cheese | m Käse | m queso
food | rice | m Reis | m arroz
drink | milk | f Milch | f leche
drink | tea | m Tee | m té
drink | coffee | m Kaffee | m café
drink | juice | m Saft | m zumo
drink | wine | m Wein | m vino
drink | beer | n Bier | f cerveza
text | book, books | n Buch, Bücher | m libro
text | letter, letters | m Brief, Briefe | f carta
text | newspaper, newspapers | f Zeitung, Zeitungen | m periódico
text | story, stories | f Geschichte, Geschichten | f historia
text | poem, poems | n Gedicht, Gedichte | m poema
text | card, cards | f Karte, Karten | f tarjeta
text | report, reports | m Bericht, Berichte | m informe
opening | door, doors | f Tür, Türen | f puerta
opening | window, windows | n Fenster, Fenster | f ventana
opening | box, boxes | f Kiste, Kisten | f caja
opening | bottle, bottles | f Flasche, Flaschen | f botella
opening | suitcase, suitcases | m Koffer, Koffer | f maleta
opening | drawer, drawers | f Schublade, Schubladen | m cajón, cajones
opening | envelope, envelopes | m Umschlag, Umschläge | m sobre
device | lamp, lamps | f Lampe, Lampen | f lámpara
device | radio, radios | n Radio, Radios | f radio
device | computer, computers | m Computer, Computer | m ordenador
device | telephone, telephones | n Telefon, Telefone | m teléfono
device | television, televisions | m Fernseher, Fernseher | m televisor
device | machine, machines | f Maschine, Maschinen | f máquina
device | heater, heaters | f Heizung, Heizungen | m calentador
clothes | coat, coats | m Mantel, Mäntel | m abrigo
clothes | hat, hats | m Hut, Hüte | m sombrero
clothes | shirt, shirts | n Hemd, Hemden | f camisa
clothes | jacket, jackets | f Jacke, Jacken | f chaqueta
clothes | scarf, scarves | m Schal, Schals | f bufanda
clothes | skirt, skirts | m Rock, Röcke | f falda
clothes | dress, dresses | n Kleid, Kleider | m vestido
clothes | shoe, shoes | m Schuh, Schuhe | m zapato
object | bicycle, bicycles | n Fahrrad, Fahrräder | f bicicleta
object | car, cars | n Auto, Autos | m coche
object | key, keys | m Schlüssel, Schlüssel | f llave
object | knife, knives | n Messer, Messer | m cuchillo
object | spoon, spoons | m Löffel, Löffel | f cuchara
object | plate, plates | m Teller, Teller | m plato
object | cup, cups | f Tasse, Tassen | f taza
object | glass, glasses | n Glas, Gläser | m vaso
object | chair, chairs | m Stuhl, Stühle | f silla
object | table, tables | m Tisch, Tische | f mesa
object | bed, beds | n Bett, Betten | f cama
object | picture, pictures | n Bild, Bilder | m cuadro
object | flower, flowers | f Blume, Blumen | f flor
object | tree, trees | m Baum, Bäume | m árbol
object | stone, stones | m Stein, Steine | f piedra
object | ring, rings | m Ring, Ringe | m anillo
object | clock, clocks | f Uhr, Uhren | m reloj
object | camera, cameras | f Kamera, Kameras | f cámara
object | guitar, guitars | f Gitarre, Gitarren | f guitarra
object | ball, balls | m Ball, Bälle | f pelota
object | doll, dolls | f Puppe, Puppen | f muñeca
object | ticket, tickets | f Fahrkarte, Fahrkarten | m billete
object | map, maps | f Landkarte, Landkarten | m mapa
object | umbrella, umbrellas | m Regenschirm, Regenschirme | m paraguas, paraguas
object | bag, bags | f Tasche, Taschen | f bolsa
object | basket, baskets | m Korb, Körbe | f cesta
object | pencil, pencils | m Bleistift, Bleistifte | m lápiz
object | carpet, carpets | m Teppich, Teppiche | f alfombra
object | mirror, mirrors | m Spiegel, Spiegel | m espejo
object | candle, candles | f Kerze, Kerzen | f vela
object | blanket, blankets | f Decke, Decken | f manta
object | boat, boats | n Boot, Boote | m barco
object | hammer, hammers | m Hammer, Hämmer | m martillo
animal | dog, dogs | m Hund, Hunde | m perro
animal | cat, cats | f Katze, Katzen | m gato
animal | horse, horses | n Pferd, Pferde | m caballo
animal | bird, birds | m Vogel, Vögel | m pájaro
animal | cow, cows | f Kuh, Kühe | f vaca
animal | mouse, mice | f Maus, Mäuse | m ratón, ratones
animal | rabbit, rabbits | m Hase, Hasen, Hasen | m conejo
animal | duck, ducks | f Ente, Enten | m pato
event | concert | n Konzert | m concierto
event | film | m Film | f película
event | game | n Spiel | m partido
event | party | n Fest | f fiesta
event | lesson | m Unterricht | f clase
event | meeting | f Sitzung | f reunión
event | wedding | f Hochzeit | f boda
event | journey | f Reise | m viaje
"""

_PERSONS = """
person | man, men | m Mann, Männer | m hombre
person | woman, women | f Frau, Frauen | f mujer
person | boy, boys | m Junge, Jungen, Jungen | m chico
person | girl, girls | n Mädchen, Mädchen | f chica
person | teacher, teachers | m Lehrer, Lehrer | m profesor
person | doctor, doctors | m Arzt, Ärzte | m médico
person | farmer, farmers | m Bauer, Bauern, Bauern | m granjero
person | baker, bakers | m Bäcker, Bäcker | m panadero
person | painter, painters | m Maler, Maler | m pintor
person | student, students | m Student, Studenten, Studenten | m estudiante
person | neighbor, neighbors | m Nachbar, Nachbarn, Nachbarn | m vecino
person | friend, friends | m Freund, Freunde | m amigo
person | brother, brothers | m Bruder, Brüder | m hermano
person | sister, sisters | f Schwester, Schwestern | f hermana
person | mother, mothers | f Mutter, Mütter | f madre
person | father, fathers | m Vater, Väter | m padre
person | uncle, uncles | m Onkel, Onkel | m tío
person | aunt, aunts | f Tante, Tanten | f tía
person | grandmother, grandmothers | f Großmutter, Großmütter | f abuela
person | grandfather, grandfathers | m Großvater, Großväter | m abuelo
person | nurse, nurses | f Krankenschwester, Krankenschwestern | f enfermera
person | king, kings | m König, Könige | m rey
person | queen, queens | f Königin, Königinnen | f reina
person | child, children | n Kind, Kinder | m niño
person | driver, drivers | m Fahrer, Fahrer | m conductor
person | guest, guests | m Gast, Gäste | m invitado
person | waiter, waiters | m Kellner, Kellner | m camarero
person | soldier, soldiers | m Soldat, Soldaten, Soldaten | m soldado
person | lawyer, lawyers | m Anwalt, Anwälte | m abogado
"""

NAMES = {
    "Anna": "f",
    "Maria": "f",
    "Laura": "f",
    "Julia": "f",
    "Clara": "f",
    "Emma": "f",
    "Peter": "m",
    "Thomas": "m",
    "Martin": "m",
    "Daniel": "m",
    "Robert": "m",
    "Victor": "m",
}

# english | german, stem before endings | spanish
_THING_ADJECTIVES = """
old | alt | viejo | ser
new | neu | nuevo | ser
big | groß | grande | ser
small | klein | pequeño | ser
red | rot | rojo | ser
green | grün | verde | ser
blue | blau | azul | ser
white | weiß | blanco | ser
black | schwarz | negro | ser
yellow | gelb | amarillo | ser
beautiful | schön | bonito | ser
cheap | billig | barato | ser
expensive | teuer, teur | caro | ser
heavy | schwer | pesado | ser
broken | kaputt | roto | estar
clean | sauber | limpio | estar
dirty | schmutzig | sucio | estar
strange | seltsam | extraño | ser
cold | kalt | frío | estar
fresh | frisch | fresco | estar
"""

_PERSON_ADJECTIVES = """
young | jung | joven, jóvenes | ser
tall | groß | alto | ser
poor | arm | pobre | ser
rich | reich | rico | ser
friendly | freundlich | amable | ser
strong | stark | fuerte | ser
clever | klug | listo | ser
tired | müde, müd | cansado | estar
sad | traurig | triste | estar
happy | glücklich | feliz | estar
sick | krank | enfermo | estar
angry | wütend | enfadado | estar
hungry | hungrig | hambriento | estar
"""

# kinds of objects | english: base, third person, past |
# german: prefix+infinitive, you, he, participle, auxiliary, case of the object, case of "sich" |
# spanish: infinitive; irregular present; irregular past
_THING = "food drink text opening device clothes object animal"
_VERBS = f"""
{_THING} | buy, buys, bought | kaufen, kaufst, kauft, gekauft | comprar
{_THING} | sell, sells, sold | verkaufen, verkaufst, verkauft, verkauft | vender
{_THING} | see, sees, saw | sehen, siehst, sieht, gesehen | ver; veo ves ve vemos ven; vi viste vio vimos vieron
{_THING} | find, finds, found | finden, findest, findet, gefunden | encontrar; encuentro encuentras encuentra encontramos encuentran
{_THING} | bring, brings, brought | bringen, bringst, bringt, gebracht | traer; traigo traes trae traemos traen; traje trajiste trajo trajimos trajeron
{_THING} | carry, carries, carried | tragen, trägst, trägt, getragen | llevar
{_THING} | draw, draws, drew | zeichnen, zeichnest, zeichnet, gezeichnet | dibujar
{_THING} | need, needs, needed | brauchen, brauchst, braucht, gebraucht | necesitar
{_THING} | lose, loses, lost | verlieren, verlierst, verliert, verloren | perder; pierdo pierdes pierde perdemos pierden
{_THING} | forget, forgets, forgot | vergessen, vergisst, vergisst, vergessen | olvidar
{_THING} | hide, hides, hid | verstecken, versteckst, versteckt, versteckt | esconder
{_THING} | steal, steals, stole | stehlen, stiehlst, stiehlt, gestohlen | robar
{_THING} | paint, paints, painted | malen, malst, malt, gemalt | pintar
{_THING} | show, shows, showed | zeigen, zeigst, zeigt, gezeigt | mostrar; muestro muestras muestra mostramos muestran
{_THING} | look at, looks at, looked at | an+sehen, siehst, sieht, angesehen, haben, acc, dat | mirar
{_THING} | throw away, throws away, threw away | weg+werfen, wirfst, wirft, weggeworfen | tirar
{_THING} | pick up, picks up, picked up | auf+heben, hebst, hebt, aufgehoben | recoger; recojo recoges recoge recogemos recogen
{_THING} | bring back, brings back, brought back | zurück+bringen, bringst, bringt, zurückgebracht | devolver; devuelvo devuelves devuelve devolvemos devuelven
{_THING} | choose, chooses, chose | aus+suchen, suchst, sucht, ausgesucht, haben, acc, dat | elegir; elijo eliges elige elegimos eligen; elegí elegiste eligió elegimos eligieron
clothes object device | wash, washes, washed | waschen, wäschst, wäscht, gewaschen | lavar
clothes object device opening | clean, cleans, cleaned | putzen, putzt, putzt, geputzt | limpiar
device object opening | repair, repairs, repaired | reparieren, reparierst, repariert, repariert | reparar
text | read, reads, | lesen, liest, liest, gelesen | leer; leo lees lee leemos leen; leí leíste leyó leímos leyeron
text | write, writes, wrote | schreiben, schreibst, schreibt, geschrieben | escribir
food | eat, eats, ate | essen, isst, isst, gegessen | comer
food | cook, cooks, cooked | kochen, kochst, kocht, gekocht | cocinar
drink | drink, drinks, drank | trinken, trinkst, trinkt, getrunken | beber
opening | open, opens, opened | auf+machen, machst, macht, aufgemacht | abrir
opening | close, closes, closed | zu+machen, machst, macht, zugemacht | cerrar; cierro cierras cierra cerramos cierran
device | turn on, turns on, turned on | ein+schalten, schaltest, schaltet, eingeschaltet | encender; enciendo enciendes enciende encendemos encienden
device | turn off, turns off, turned off | aus+schalten, schaltest, schaltet, ausgeschaltet | apagar; ; apagué apagaste apagó apagamos apagaron
clothes | put on, puts on, | an+ziehen, ziehst, zieht, angezogen, haben, acc, dat | ponerse; pongo pones pone ponemos ponen; puse pusiste puso pusimos pusieron
person | visit, visits, visited | besuchen, besuchst, besucht, besucht | visitar
person | help, helps, helped | helfen, hilfst, hilft, geholfen, haben, dat | ayudar
person | call, calls, called | an+rufen, rufst, ruft, angerufen | llamar
person | greet, greets, greeted | grüßen, grüßt, grüßt, gegrüßt | saludar
person | invite, invites, invited | ein+laden, lädst, lädt, eingeladen | invitar
person | ask, asks, asked | fragen, fragst, fragt, gefragt | preguntar
person | watch, watches, watched | beobachten, beobachtest, beobachtet, beobachtet | observar
person | follow, follows, followed | folgen, folgst, folgt, gefolgt, sein, dat | seguir; sigo sigues sigue seguimos siguen; seguí seguiste siguió seguimos siguieron
- | work, works, worked | arbeiten, arbeitest, arbeitet, gearbeitet | trabajar
- | sleep, sleeps, slept | schlafen, schläfst, schläft, geschlafen | dormir; duermo duermes duerme dormimos duermen; dormí dormiste durmió dormimos durmieron
- | play, plays, played | spielen, spielst, spielt, gespielt | jugar; juego juegas juega jugamos juegan; jugué jugaste jugó jugamos jugaron
- | sing, sings, sang | singen, singst, singt, gesungen | cantar
- | dance, dances, danced | tanzen, tanzt, tanzt, getanzt | bailar
- | swim, swims, swam | schwimmen, schwimmst, schwimmt, geschwommen, sein | nadar
- | wait, waits, waited | warten, wartest, wartet, gewartet | esperar
- | cry, cries, cried | weinen, weinst, weint, geweint | llorar
- | rest, rests, rested | aus+ruhen, ruhst, ruht, ausgeruht, haben, acc, acc | descansar
- | arrive, arrives, arrived | an+kommen, kommst, kommt, angekommen, sein | llegar; ; llegué llegaste llegó llegamos llegaron
- | get up, gets up, got up | auf+stehen, stehst, steht, aufgestanden, sein | levantarse
place | go, goes, went | gehen, gehst, geht, gegangen, sein | ir; voy vas va vamos van; fui fuiste fue fuimos fueron
place | run, runs, ran | laufen, läufst, läuft, gelaufen, sein | correr
place | come, comes, came | kommen, kommst, kommt, gekommen, sein | venir; vengo vienes viene venimos vienen; vine viniste vino vinimos vinieron
event | begin, begins, began | an+fangen, fängst, fängt, angefangen | empezar; empiezo empiezas empieza empezamos empiezan; empecé empezaste empezó empezamos empezaron
event | end, ends, ended | auf+hören, hörst, hört, aufgehört | terminar
"""

# at | to
_PLACES = """
in the garden | to the garden | im Garten | in den Garten | en el jardín | al jardín
in the kitchen | to the kitchen | in der Küche | in die Küche | en la cocina | a la cocina
in the park | to the park | im Park | in den Park | en el parque | al parque
in the school | to the school | in der Schule | in die Schule | en la escuela | a la escuela
at the market | to the market | auf dem Markt | auf den Markt | en el mercado | al mercado
at the station | to the station | am Bahnhof | zum Bahnhof | en la estación | a la estación
in the library | to the library | in der Bibliothek | in die Bibliothek | en la biblioteca | a la biblioteca
in the hospital | to the hospital | im Krankenhaus | ins Krankenhaus | en el hospital | al hospital
in the museum | to the museum | im Museum | ins Museum | en el museo | al museo
in the church | to the church | in der Kirche | in die Kirche | en la iglesia | a la iglesia
in the office | to the office | im Büro | ins Büro | en la oficina | a la oficina
in the village | to the village | im Dorf | ins Dorf | en el pueblo | al pueblo
in the city | to the city | in der Stadt | in die Stadt | en la ciudad | a la ciudad
at the beach | to the beach | am Strand | an den Strand | en la playa | a la playa
at the river | to the river | am Fluss | an den Fluss | en el río | al río
in the forest | to the forest | im Wald | in den Wald | en el bosque | al bosque
in the bakery | to the bakery | in der Bäckerei | in die Bäckerei | en la panadería | a la panadería
in the hotel | to the hotel | im Hotel | ins Hotel | en el hotel | al hotel
in the bathroom | to the bathroom | im Badezimmer | ins Badezimmer | en el baño | al baño
in the cellar | to the cellar | im Keller | in den Keller | en el sótano | al sótano
in the theater | to the theater | im Theater | ins Theater | en el teatro | al teatro
in the bank | to the bank | in der Bank | zur Bank | en el banco | al banco
"""

_TIMES = """
present | today | heute | hoy
present | now | jetzt | ahora
present | every day | jeden Tag | cada día
present past future | in the morning | am Morgen | por la mañana
present past future | in the evening | am Abend | por la noche
present past future | on Monday | am Montag | el lunes
present past future | on Tuesday | am Dienstag | el martes
present past future | on Wednesday | am Mittwoch | el miércoles
present past future | on Thursday | am Donnerstag | el jueves
present past future | on Friday | am Freitag | el viernes
present past future | on Saturday | am Samstag | el sábado
present past future | on Sunday | am Sonntag | el domingo
past | yesterday | gestern | ayer
past | last week | letzte Woche | la semana pasada
past | this morning | heute Morgen | esta mañana
future | tomorrow | morgen | mañana
future | next week | nächste Woche | la próxima semana
future | soon | bald | pronto
hour | at two o'clock | um zwei Uhr | a las dos
hour | at three o'clock | um drei Uhr | a las tres
hour | at four o'clock | um vier Uhr | a las cuatro
hour | at five o'clock | um fünf Uhr | a las cinco
hour | at six o'clock | um sechs Uhr | a las seis
hour | at seven o'clock | um sieben Uhr | a las siete
hour | at eight o'clock | um acht Uhr | a las ocho
hour | at nine o'clock | um neun Uhr | a las nueve
hour | at ten o'clock | um zehn Uhr | a las diez
"""


def _rows(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()]


def _parts(cell: str, count: int, default: str = "") -> list[str]:
    """The parts of a cell that commas divide, filled up to ``count``."""
    parts = [part.strip() for part in cell.split(",")]
    return parts + [default] * (count - len(parts))


def _noun(row: list[str]) -> Noun:
    kind, english, german, spanish = row
    german_gender, german = german.split(" ", 1)
    spanish_gender, spanish = spanish.split(" ", 1)
    singular, plural, oblique = _parts(german, 3)
    spanish, spanish_plural = _parts(spanish, 2)
    one, many = _parts(english, 2)
    return Noun(
        english=one,
        english_plural=many,
        german_gender=german_gender,
        german=singular,
        german_plural=plural,
        german_oblique=oblique or singular,
        spanish_gender=spanish_gender,
        spanish=spanish,
        spanish_plural=spanish_plural or spanish_plural_of(spanish),
        kinds=frozenset(kind.split()),
    )


def spanish_plural_of(word: str) -> str:
    """The regular plural of a Spanish noun or adjective."""
    if word.endswith("z"):
        return f"{word[:-1]}ces"
    if word[-1] in "aeoéó":
        return f"{word}s"
    return f"{word}es"


def _adjective(row: list[str]) -> Adjective:
    english, german, spanish, spanish_verb = row
    german, stem = _parts(german, 2)
    return Adjective(english, german, stem or german, spanish, spanish_verb)


def _verb(row: list[str]) -> Verb:
    kinds, english, german, spanish = row
    base, third, past = _parts(english, 3)
    infinitive, second, he, participle, auxiliary, case, reflexive = _parts(german, 7)
    prefix, _, stem = infinitive.rpartition("+")
    spanish_forms = [part.strip() for part in spanish.split(";")] + ["", ""]
    is_reflexive = spanish_forms[0].endswith("se")
    spanish_infinitive = spanish_forms[0].removesuffix("se")
    return Verb(
        english=base,
        english_third=third,
        english_past=past,
        german=stem,
        german_prefix=prefix,
        german_second=second,
        german_third=he,
        german_participle=participle,
        german_auxiliary=auxiliary or "haben",
        german_case=case or "acc",
        german_reflexive=reflexive,
        spanish=spanish_infinitive,
        spanish_present=tuple(spanish_forms[1].split()) or _regular(spanish_infinitive, _PRESENT),
        spanish_past=tuple(spanish_forms[2].split()) or _regular(spanish_infinitive, _PAST),
        spanish_reflexive=is_reflexive,
        kinds=frozenset(kinds.replace("-", "").split()),
    )


_PRESENT = {"ar": "o as a amos an", "er": "o es e emos en", "ir": "o es e imos en"}
_PAST = {"ar": "é aste ó amos aron", "er": "í iste ió imos ieron", "ir": "í iste ió imos ieron"}


def _regular(infinitive: str, endings: dict[str, str]) -> tuple[str, ...]:
    return tuple(infinitive[:-2] + ending for ending in endings[infinitive[-2:]].split())


THINGS = tuple(_noun(row) for row in _rows(_THINGS))
PERSONS = tuple(_noun(row) for row in _rows(_PERSONS))
THING_ADJECTIVES = tuple(_adjective(row) for row in _rows(_THING_ADJECTIVES))
PERSON_ADJECTIVES = tuple(_adjective(row) for row in _rows(_PERSON_ADJECTIVES))
VERBS = tuple(_verb(row) for row in _rows(_VERBS))
PLACES = tuple(Place(*row) for row in _rows(_PLACES))
TIMES = tuple(
    Time(english, german, spanish, frozenset(tenses.split()))
    for tenses, english, german, spanish in _rows(_TIMES)
)
NUMBERS = {
    "two": ("zwei", "dos"),
    "three": ("drei", "tres"),
    "four": ("vier", "cuatro"),
    "five": ("fünf", "cinco"),
    "six": ("sechs", "seis"),
    "seven": ("sieben", "siete"),
    "eight": ("acht", "ocho"),
    "nine": ("neun", "nueve"),
    "ten": ("zehn", "diez"),
}
