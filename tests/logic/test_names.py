"""Names as people write them: kept as typed, found and signed in with in every way that they are typed."""

import unicodedata
from typing import Any

import pytest

from gochat.api.logic.v1 import logic_pb2
from gochat.domain.text import normal_name
from tests.conftest import DIAGONAL
from tests.harness import PASSWORD, Deployment, Person, as_service, fresh, refused

NAMES = {
    "Adlam": "𞤀𞤣𞤤𞤢𞤥",
    "Amharic": "ሰላማዊት",
    "Arabic": "مُحَمَّد",
    "Armenian": "Հայկ",
    "Balinese": "ᬅᬧᬲ᭄ᬬ",
    "Bengali": "শ্রীমতী",
    "Bengali, joiner before the virama": "র\u200d্যাচেল",
    "Bulgarian": "Щерьо",
    "Burmese Kyaw": "ကျော်",
    "Burmese, five marks": "လျှော့",
    "Cherokee": "ᏎᏉᏯ",
    "Chinese": "王小明",
    "Chinese, bracketed": "㈱王",
    "Devanagari": "कृष्णा",
    "Divehi": "އިބްރާހީމް",
    "Georgian": "გიორგი",
    "Greek": "Ὀδυσσεύς",
    "Gujarati": "શ્રીકૃષ્ણ",
    "Gurmukhi": "ਗੁਰਪ੍ਰੀਤ",
    "Hangul": "김민준",
    "Hebrew": "שָּׁלוֹם",
    "Inuktitut": "ᐃᓄᒃ",
    "Japanese": "たけし",
    "Japanese, a variant of an ideograph": "葛\U000e0100城",
    "Javanese": "ꦏꦿꦺꦴꦁ",
    "Kannada": "ಕೃಷ್ಣ",
    "Khmer": "ស្រីមុំ",
    "Kurdish": "ئازاد\u200cیش",
    "Lao": "ນ້ຳຝົນ",
    "Malayalam": "ശ്രീജിത്ത്",
    "Malayalam, chillu": "അരുൺ",
    "Meetei Mayek": "ꯃꯅꯤꯄꯨꯔ",
    "Mongolian": "ᠪᠠᠲᠤ\u180bᠨ",
    "N'Ko": "ߒߞߏ߫",
    "Odia": "ଶ୍ରୀକୃଷ୍ଣ",
    "Persian": "علی\u200cرضا",
    "Shan": "တႆးၸၢႆး",
    "Sinhala": "ශ්\u200dරීපාල",
    "Syriac": "ܝܘܚܢܢ",
    "Tai Tham": "ᨠᩕᩮᩬᩥᩢ",
    "Tamil": "ஸ்ரீதர்",
    "Telugu": "శ్రీనివాస్",
    "Thai": "น้ำฝน",
    "Tibetan": "རྡོ་རྗེ",
    "Tibetan, three below": "བསྒྲུབས",
    "Tifinagh": "ⵎⴰⵙⵉⵏ",
    "Turkish": "İbrahim",
    "Turkish, dotless": "Işık",
    "Vietnamese": "Nguyễn",
    "Yiddish": "יִצְחָק",
    "emoji of several": "👨\u200d👩\u200d👧",
    "emoji heart": "❤\ufe0f",
}


def sign_in(app: Deployment, name: str, password: str = PASSWORD) -> Any:
    return app.logic.Authenticate(logic_pb2.AuthRequest(username=name, password=password), timeout=30)


def typed(name: str) -> set[str]:
    """The ways in which people type a name."""
    ways = {name, name.upper(), name.lower(), name.title(), f" {name}", f"{name} \t", f"\u3000{name}\u00a0"}
    ways |= {name.replace("\u200c", "").replace("\u200d", ""), f"\ufeff{name}\u200b "}
    return {unicodedata.normalize(form, way) for way in ways for form in ("NFC", "NFD", "NFKC", "NFKD")} | ways


@DIAGONAL
@pytest.mark.parametrize("script", NAMES)
def test_a_name_is_kept_as_typed_and_found(app: Deployment, script: str) -> None:
    digits = fresh("")
    name = f"{NAMES[script]}{digits}"
    user_id = app.create_user(unicodedata.normalize("NFD", name))
    assert as_service(app).repo.GetUser(user_id=user_id).user.username == normal_name(name)
    assert {sign_in(app, way).user_info.user_id for way in typed(name)} == {user_id}
    found = as_service(app).logic.SearchUsers(query=unicodedata.normalize("NFD", name)).users
    assert [user.username for user in found] == [normal_name(name)]
    with refused("ALREADY_EXISTS", "username", "USERNAME_TAKEN"):
        app.create_user(unicodedata.normalize("NFKD", name.upper()))


@DIAGONAL
def test_a_turkish_name_is_found_however_its_i_is_typed(app: Deployment) -> None:
    tail = fresh("")
    user_id = app.create_user(f"İbrahim{tail}", nickname=f"Dİdem{tail}")
    for query in ("İbrahim", "ibrahim", "IBRAHIM", "İBRAHİM", "i̇brahim", "didem", "DİDEM"):
        found = as_service(app).logic.SearchUsers(query=f"{query}{tail}").users
        assert [user.user_id for user in found] == [user_id], query
    for name in ("ibrahim", "IBRAHIM", "İBRAHİM", "ıbrahım"):
        assert sign_in(app, f"{name}{tail}").user_info.user_id == user_id, name


SPELLED = [
    ("علي", "علی"),  # the Arabic and the Persian keyboard
    ("كريم", "کریم"),
    ("അരുൺ", "അരുണ്\u200d"),  # a chillu, and as older keyboards write it
    ("น้ำ", "นํ้า"),
    ("แดง", "เเดง"),
    ("alice", "аlice"),
]


@DIAGONAL
@pytest.mark.parametrize(("one", "other"), SPELLED)
def test_what_looks_the_same_is_one_name(app: Deployment, one: str, other: str) -> None:
    tail = fresh("")
    user_id = app.create_user(one + tail)
    with refused("ALREADY_EXISTS", "username", "USERNAME_TAKEN"):
        app.create_user(other + tail)
    assert sign_in(app, other + tail).user_info.user_id == user_id


SPACED = ("a b", "a\u00a0b", "a\u2028b", "a\tb", "\ufdfa")
HIDDEN = (
    "a\u200bb",
    "a\u200db",
    "a\u200c1",
    "\u200d",
    "\u3164",
    "a\u3164",
    "\u2800",
    "a\u00adb",
    "a\ufe0f",
    "a\u034fb",
)
HEAPED = ("\u0301a", "a" + "\u0336" * 2, "a\u0300\u0301\u0302\u0303\u0304", "\u1000" + "\u103b" * 9)
OTHERS = ("a\u202eb", "a\ue000", "\U000e0061", "x" * 65)


@DIAGONAL
@pytest.mark.parametrize("name", [*SPACED, *HIDDEN, *HEAPED, *OTHERS])
def test_what_no_script_needs_is_refused(app: Deployment, name: str) -> None:
    with refused("INVALID_ARGUMENT", "username"):
        app.create_user(name)


@DIAGONAL
def test_a_long_name_is_signed_in_with_decomposed(app: Deployment) -> None:
    tail = fresh("")
    name = "가" * (64 - len(tail)) + tail
    user_id = app.create_user(unicodedata.normalize("NFD", name))
    assert sign_in(app, unicodedata.normalize("NFD", name)).user_info.user_id == user_id
    assert sign_in(app, f"  {name}  ").user_info.user_id == user_id


BLANK = [
    *(" ", "\u200b", "\u200d", "\u2060", "\ufeff", "\u3164", "\uffa0", "\u2800", "\u00ad", "\u200f", "\u061c"),
    *("\U000e0041", "\u0301", "\u3000 \u200b", "\ufe0f", "\u115f\u1160"),
]
BROKEN = ["a\u2028b", "a\u2029b", "a\tb", "a\nb", "a\u0085b", "\u202eabc"]


@pytest.fixture(scope="module")
def writer(app: Deployment) -> Person:
    return app.person(password=PASSWORD)


@DIAGONAL
@pytest.mark.parametrize("name", BLANK + BROKEN)
def test_names_that_show_nothing_or_break_the_line_are_refused(app: Deployment, writer: Person, name: str) -> None:
    repo = as_service(app).repo
    with refused("INVALID_ARGUMENT", "nickname"):
        writer.UpdateUserProfile(nickname=name)
    with refused("INVALID_ARGUMENT", "nickname"):
        repo.UpdateUser(user_id=writer.id, nickname=name)
    with refused("INVALID_ARGUMENT", "nickname"):
        app.create_user(nickname=name)
    with refused("INVALID_ARGUMENT", "name"):
        writer.CreateGroup(name=name)
    with refused("INVALID_ARGUMENT", "name"):
        repo.CreateConversation(type="group", name=name, participant_ids=[writer.id])


@DIAGONAL
@pytest.mark.parametrize("name", ["❤\ufe0f", "👨\u200d👩\u200d👧", "علی\u200cرضا", "日本 太郎", "…", "a\u200fb"])
def test_names_that_show_something_are_taken(writer: Person, name: str) -> None:
    assert writer.UpdateUserProfile(nickname=name).profile.nickname == name
    assert writer.CreateGroup(name=name).group.name == name


PASSWORDS = [
    ("pässwörd1", unicodedata.normalize("NFD", "pässwörd1")),
    ("correct horse battery", "correct\u00a0horse\u3000battery"),
    ("😀 émoji ❤\ufe0f", "😀 e\u0301moji ❤\ufe0f"),
]


@DIAGONAL
@pytest.mark.parametrize(("one", "other"), PASSWORDS)
def test_a_password_is_the_same_on_every_keyboard(app: Deployment, one: str, other: str) -> None:
    for chosen, typed_later in ((one, other), (other, one)):
        name = fresh()
        app.create_user(name, password=chosen)
        assert sign_in(app, name, typed_later).success
        person = app.signed_in("", name, typed_later)
        assert person.ChangePassword(old_password=typed_later, new_password=f"{chosen} two").access_token
        assert sign_in(app, name, f"{typed_later} two").success


@DIAGONAL
def test_case_and_width_of_a_password_matter(app: Deployment) -> None:
    name = fresh()
    app.create_user(name, password="Passwörd 1")
    for wrong in ("passwörd 1", "Ｐasswörd 1", "Passwörd  1", "Passwörd 1 ", "Password 1"):
        with refused("UNAUTHENTICATED", reason="BAD_CREDENTIALS"):
            sign_in(app, name, wrong)


@DIAGONAL
def test_a_password_with_control_characters_is_refused(app: Deployment) -> None:
    person = app.person(password=PASSWORD)
    with refused("INVALID_ARGUMENT", "new_password"):
        person.ChangePassword(old_password=PASSWORD, new_password="my cat is a \tby")
    with refused("INVALID_ARGUMENT", "password"):
        app.create_user(password="my cat is a \tby")
    with refused("UNAUTHENTICATED", reason="BAD_CREDENTIALS"):
        sign_in(app, person.username, "my cat is a \tby")


@DIAGONAL
def test_eight_characters_are_counted_as_they_are_kept(app: Deployment) -> None:
    person = app.person(password=PASSWORD)
    with refused("INVALID_ARGUMENT", "new_password"):
        person.ChangePassword(old_password=PASSWORD, new_password="e\u0301" * 4 + "abc")
