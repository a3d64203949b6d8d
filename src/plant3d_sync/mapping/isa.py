"""Function letters of instruments by ANSI/ISA-5.1, read from a tag, and their full names.

A code is: one first letter (the measured variable), at most one variable modifier, one or more succeeding letters
(what the device does), and a tail that modifies an alarm or a switch. The tables are those of ISA-5.1-2009. Two
liberties of the standard are not used: "user's choice" as a succeeding letter (B, N), and succeeding letters in any
order, since together they would turn almost every area prefix into a code.
"""

from __future__ import annotations

import re
import string
from functools import lru_cache
from typing import Literal

import msgspec

UNKNOWN = "Unknown"
"""What SYNAPSE shows when no valid function letters were found."""

Language = Literal["en", "fr"]

_FIRST: dict[str, tuple[str, str]] = {
    "A": ("Analysis", "d'analyse"),
    "B": ("Burner", "de combustion"),
    "C": ("Conductivity", "de conductivité"),
    "D": ("Density", "de masse volumique"),
    "E": ("Voltage", "de tension"),
    "F": ("Flow", "de débit"),
    "G": ("Gauging", "de dimension"),
    "H": ("Hand", "à main"),
    "I": ("Current", "de courant"),
    "J": ("Power", "de puissance"),
    "K": ("Time", "de temps"),
    "L": ("Level", "de niveau"),
    "M": ("Moisture", "d'humidité"),
    "N": ("", ""),
    "O": ("", ""),
    "P": ("Pressure", "de pression"),
    "Q": ("Quantity", "de quantité"),
    "R": ("Radiation", "de rayonnement"),
    "S": ("Speed", "de vitesse"),
    "T": ("Temperature", "de température"),
    "U": ("Multivariable", "multivariable"),
    "V": ("Vibration", "de vibration"),
    "W": ("Weight", "de poids"),
    "X": ("Unclassified", "non classé"),
    "Y": ("Event", "d'état"),
    "Z": ("Position", "de position"),
}
"""First letters. C, D, G, M, N and O are "user's choice" in the standard: the usual choice is named where there is one, and
N and O have none, so their codes have letters and no name."""

_MODIFIERS: dict[str, tuple[str, str]] = {
    "D": ("Differential", "différentiel"),
    "F": ("Ratio", "de rapport"),
    "J": ("Scanning", "à balayage"),
    "K": ("Rate-of-Change", "à taux de variation"),
    "Q": ("Totalizing", "totalisateur"),
    "S": ("Safety", "de sécurité"),
    "X": ("X-Axis", "axe X"),
    "Y": ("Y-Axis", "axe Y"),
    "Z": ("Safety Instrumented", "instrumenté de sécurité"),
}
_Z_AXIS = ("Z-Axis", "axe Z")
"""What Z in second place means of a position, vibration or weight; of anything else it is safety."""
_MODIFIER_FITS = {
    "D": "PTLFAEWZDR",
    "F": "FPTWA",
    "J": "TPLFA",
    "K": "TPLFSWZ",
    "Q": "FWJEISPK",
    "S": "PTFLXHV",
    "X": "VZW",
    "Y": "VZW",
    "Z": "VZWABDEFHIJLPQRSTUXY",
}
"""Which variables a modifier is used with: PD, TD, FF, FQ, ..."""

_LAST: dict[str, tuple[str, str]] = {
    "A": ("Alarm", "Alarme"),
    "C": ("Controller", "Régulateur"),
    "E": ("Element", "Élément"),
    "G": ("Gauge", "Indicateur à glace"),
    "I": ("Indicator", "Indicateur"),
    "K": ("Control Station", "Poste de commande"),
    "L": ("Light", "Voyant"),
    "O": ("Orifice", "Orifice"),
    "P": ("Test Point", "Point d'essai"),
    "R": ("Recorder", "Enregistreur"),
    "S": ("Switch", "Contacteur"),
    "T": ("Transmitter", "Transmetteur"),
    "U": ("Multifunction Device", "Appareil multifonction"),
    "V": ("Valve", "Vanne"),
    "W": ("Well", "Puits"),
    "X": ("Unclassified Device", "Appareil non classé"),
    "Y": ("Relay", "Relais"),
    "Z": ("Actuator", "Actionneur"),
}
"""Succeeding letters as the device a code ends in."""

_BEFORE: dict[str, tuple[str, str]] = {
    "A": ("Alarm", "d'alarme"),
    "C": ("Control", "régulateur"),
    "I": ("Indicating", "indicateur"),
    "R": ("Recording", "enregistreur"),
    "S": ("Switching", "à contact"),
}
"""Succeeding letters in front of another one."""

_FOLLOWS = {
    "": "IRCASTKVYZEGLOPUWX",
    "I": "RCASTKVYZ",
    "R": "ICASTKVY",
    "C": "ASVYZK",
    "A": "S",
    "S": "AYZ",
}
"""Which succeeding letter may come after which; letters missing here end the code."""

_TAILS: dict[str, tuple[str, str]] = {
    "H": ("High", "haut"),
    "HH": ("High High", "très haut"),
    "HHH": ("High High High", "extrêmement haut"),
    "L": ("Low", "bas"),
    "LL": ("Low Low", "très bas"),
    "LLL": ("Low Low Low", "extrêmement bas"),
    "HL": ("High Low", "haut et bas"),
    "LH": ("High Low", "haut et bas"),
    "M": ("Middle", "intermédiaire"),
    "O": ("Open", "ouvert"),
    "C": ("Closed", "fermé"),
    "OC": ("Open Closed", "ouvert et fermé"),
    "D": ("Deviation", "d'écart"),
}
_TAIL_FITS = {
    "A": frozenset({"H", "HH", "HHH", "L", "LL", "LLL", "HL", "LH", "M", "O", "C", "D"}),
    "S": frozenset({"H", "HH", "HHH", "L", "LL", "LLL", "HL", "LH", "M", "O", "C", "OC"}),
    "L": frozenset({"O", "C", "H", "L"}),
}


class Function(msgspec.Struct, frozen=True, kw_only=True):
    """One valid code, taken apart. `modifier` and `tail` may be empty."""

    letters: str
    variable: str
    modifier: str
    succeeding: str
    tail: str


@lru_cache(maxsize=4096)
def parse_function(letters: str) -> Function | None:
    """The parts of a code in capitals, or None when ISA-5.1 has no such code. Between 2 and 7 letters."""
    if not 2 <= len(letters) <= 7 or letters[0] not in _FIRST:
        return None
    if letters[1] in _MODIFIERS and letters[0] in _MODIFIER_FITS[letters[1]]:
        found = _with_modifier(letters)
        if found is not None:
            return found
    body = _body(letters[1:])
    if body is None or letters == "XX":
        return None
    return Function(letters=letters, variable=letters[0], modifier="", succeeding=body[0], tail=body[1])


def _with_modifier(letters: str) -> Function | None:
    """The reading in which the second letter modifies the variable."""
    modifier, rest = letters[1], letters[2:]
    if modifier == "S" and rest not in ("V", "E"):
        return None  # S is "safety" only in front of a valve or an element (PSV, PSE); else it is a switch
    if modifier == "Z" and not rest:
        return None  # Z alone ends the code: an actuator
    if modifier == "Q" and not rest:
        return Function(letters=letters, variable=letters[0], modifier="Q", succeeding="", tail="")
    body = _body(rest)
    if body is None:
        return None
    return Function(letters=letters, variable=letters[0], modifier=modifier, succeeding=body[0], tail=body[1])


def _body(rest: str) -> tuple[str, str] | None:
    """Succeeding letters and tail, or None."""
    previous = ""
    for position, letter in enumerate(rest):
        if letter not in _FOLLOWS.get(previous, "") or letter in rest[:position]:
            tail = rest[position:]
            return (rest[:position], tail) if tail in _TAIL_FITS.get(previous, frozenset()) else None
        previous = letter
    return (rest, "") if rest else None


def function_letters(tag: object) -> str | None:
    """The function letters in a tag, or None: `300-FT-001` -> `FT`, `FIC1001` -> `FIC`, `210FT001` -> `FT`.

    Of several groups of letters that are valid codes, the last one with a number behind it wins, because area and
    unit prefixes stand in front (`TK-101-LT-002` -> `LT`); else the first. `?` stands for an unfilled number.
    A tag of another standard holds none, whatever letters are in it: one with signs that no ISA tag has (`MF300±KSA3001`,
    `=A1+B2-FT3`), and one of the power plants' KKS (`10LAB20CP001`, where CP is no conductivity).
    """
    return _letters_of(tag.translate(_ANY_DIGIT)) if isinstance(tag, str) else None


_FOREIGN = re.compile(r"[^\w\s./\\:;,()\[\]?#&'\"*\-]|^[+=]")
"""Signs that stand in no tag after ISA-5.1, only in those of other standards."""
_KKS = re.compile(r"\d{0,3}[ -]?[A-Z]{3}[ -]?\d{2}[ -]?[A-Z]{2}[ -]?\d{3}[ -]?[A-Z]?")
"""Plant, function key, number, kind of component, number: the designation of a German power plant."""

_ANY_DIGIT = dict.fromkeys(map(ord, string.digits), "0")
"""Which digit it is does not matter, so the tags of a plant have few different forms."""


@lru_cache(maxsize=4096)
def _letters_of(tag: str) -> str | None:
    text = tag.strip().upper()
    if text in ("NA", "N/A", "HOLD") or _FOREIGN.search(text) or _KKS.fullmatch(text):
        return None
    tokens = _tokens(text)
    first: str | None = None
    numbered: str | None = None
    for position, (kind, letters) in enumerate(tokens):
        if kind != "letters" or parse_function(letters) is None:
            continue
        first = first or letters
        if _number_follows(tokens, position):
            numbered = letters
    return numbered or first


def _kind(char: str) -> str:
    if char.isalpha():
        return "letters"
    return "number" if char.isdigit() or char == "?" else "gap"


def _tokens(text: str) -> list[tuple[str, str]]:
    """The text as runs of letters, of digits, and of anything else."""
    tokens: list[tuple[str, str]] = []
    start, kind = 0, ""
    for position, char in enumerate(text):
        now = _kind(char)
        if now != kind:
            if kind:
                tokens.append((kind, text[start:position]))
            start, kind = position, now
    if kind:
        tokens.append((kind, text[start:]))
    return tokens


def _number_follows(tokens: list[tuple[str, str]], position: int) -> bool:
    following = [kind for kind, _ in tokens[position + 1 : position + 3]]
    return following[:1] == ["number"] or following == ["gap", "number"]


@lru_cache(maxsize=4096)
def full_name(letters: str | None, language: Language = "en") -> str:
    """The name of a code: `PDIT` -> "Pressure Differential Indicating Transmitter". Not a code -> "Unknown"."""
    function = parse_function(letters.strip().upper()) if letters else None
    if function is None or not _FIRST[function.variable][0]:
        return UNKNOWN
    return _french(function) if language == "fr" else _english(function)


def _modifier(function: Function) -> tuple[str, str]:
    if function.modifier == "Z" and function.variable in _MODIFIER_FITS["X"]:
        return _Z_AXIS
    return _MODIFIERS[function.modifier]


def _english(function: Function) -> str:
    words = [_FIRST[function.variable][0]]
    if not function.succeeding:
        return " ".join([*words, "Totalizer"])
    if function.modifier:
        words.append(_modifier(function)[0])
    words += [_BEFORE[letter][0] for letter in function.succeeding[:-1]]
    words.append(_LAST[function.succeeding[-1]][0])
    if function.tail:
        words.append(_TAILS[function.tail][0])
    return " ".join(words)


def _french(function: Function) -> str:
    variable = _FIRST[function.variable][1]
    if not function.succeeding:
        return f"Totalisateur {variable}"
    words = [_LAST[function.succeeding[-1]][1]]
    words += [_BEFORE[letter][1] for letter in function.succeeding[:-1]]
    if function.modifier == "S":
        words.append("de sécurité")
    words.append(variable)
    if function.modifier == "D":
        words.append("différentielle" if function.variable in "PTEZ" else "différentiel")
    elif function.modifier and function.modifier != "S":
        words.append(_modifier(function)[1])
    if function.tail:
        words.append(_TAILS[function.tail][1])
    return " ".join(words)
