"""gochat chat: two people at two terminals talk, as they would see it."""

import os
import sys
from pathlib import Path

import pytest

from tests.commands.program import gochat
from tests.commands.terminals import CTRL_C, CTRL_D, CTRL_U, Terminal, at_prompt, chatting
from tests.conftest import Own
from tests.conversations import contents, conversation_of, group, single
from tests.harness import PASSWORD, Deployment
from tests.processes import PROGRAM, free_address
from tests.waiting import eventually


@pytest.fixture(scope="module")
def server(own_of_module: Own) -> Deployment:
    return own_of_module(env={"GOCHAT_AUTH_REGISTRATION": "open"})


def test_two_people_talk_in_two_terminals(server: Deployment) -> None:
    ann, ben = server.person(password=PASSWORD, nickname="Ann"), server.person(password=PASSWORD, nickname="本")
    with chatting(server, ann) as anns, chatting(server, ben) as bens:
        anns.until("no conversation yet").enter(f"/people {ben.username}").until(f"1 本  @{ben.username}", "1 found")
        anns.enter("/open 1").until("— 本 —").enter("Hello Ben")
        bens.until("[to you] Ann  Hello Ben").enter("/open Ann").until("— Ann —")
        bens.enter("你好，安！🙂 naïve").until("本  你好，安！🙂 naïve")
        anns.until("本  你好，安！🙂 naïve", "Ann  Hello Ben")
        anns.until("read up to #1")
        bens.type("well")
        anns.until("本 is typing")
        bens.type(f"{CTRL_U}//not a command\r")
        anns.until("本  /not a command")
        anns.enter("/quit")
        assert anns.ended() == 0
        bens.type(CTRL_D)
        assert bens.ended() == 0
    assert contents(ann, single(ann, ben)) == ["/not a command", "你好，安！🙂 naïve", "Hello Ben"]
    assert ben.GetUnreadMessages().total_count == 0


def test_groups(server: Deployment) -> None:
    ann, ben, cem = (server.person(password=PASSWORD, nickname=name) for name in ("Ann2", "Ben2", "Cem2"))
    with chatting(server, ann) as anns, chatting(server, ben) as bens:
        anns.enter(f"/group new Readers {ben.username}").until("— Readers —").enter("welcome")
        bens.until("[Readers] Ann2  welcome").enter("/list").until("1 Readers (1)").enter("/open 1")
        bens.until("— Readers —")
        anns.enter(f"/group add {cem.username}").until("1 added", "Cem2 is here now")
        anns.enter("/group members").until("Ann2  owner", "Ben2  member", "Cem2  member")
        anns.enter(f"/group remove {cem.username}").until("Cem2 is gone")
        bens.until("Cem2 is gone").enter("/group add nobody-at-all").until("nobody is called nobody-at-all")
        bens.enter(f"/group add {cem.username}").until("only the owner and the admins")
        bens.enter("/group leave")
        anns.until("Ben2 is gone")


def test_history_and_search(server: Deployment) -> None:
    ann, ben = server.person(password=PASSWORD, nickname="Ann3"), server.person(password=PASSWORD, nickname="Ben3")
    room = group(ann, ben, name="Long talk")
    for number in range(50):
        ann.send(room, f"message {number}.")
    with chatting(server, ben) as bens:
        bens.until("1 Long talk (50)  message 49.").enter("/open long TALK").until("message 30.", "message 49.")
        assert "message 29." not in bens.text
        bens.enter("/history 25").until("message 5.")
        assert "message 4." not in bens.text
        bens.enter("/history").until("message 0.").enter("/history").until("there are no earlier ones")
        bens.enter("/search E 1.").until("message 1.")
        bens.enter("/nonsense").until("there is no /nonsense").enter("/help").until("find conversations")
        bens.enter("/hide")
        eventually(lambda: not ben.GetConversations().conversations)


def test_what_is_hostile_is_shown_and_not_obeyed(server: Deployment) -> None:
    ann, ben = server.person(password=PASSWORD, nickname="Ann4"), server.person(password=PASSWORD, nickname="Ben4")
    with chatting(server, ben) as bens:
        ann.send(ben.id, "\x1b[2J\x1b]0;owned\x07 \u202egnp.exe\r<html> {curly} %s")
        bens.until("Ann4  \ufffd[2J\ufffd]0;owned\ufffd \ufffdgnp.exe\ufffd<html> {curly} %s")
        assert "\x1b]0;" not in bens.raw


def test_a_terminal_that_is_resized_keeps_its_line(server: Deployment) -> None:
    ann, ben = server.people(2, PASSWORD)
    with chatting(server, ann) as anns:
        anns.enter(f"/open {ben.username}").until(f"— {ben.username} —")
        line = "w" * 60
        anns.type(line).until(lambda text: text.count("w") >= 60)
        for columns, letter in ((140, "X"), (40, "Y"), (140, "Z")):
            anns.resize(30, columns)
            seen = len(anns.text)
            anns.type(letter).until(lambda text, since=seen, echo=letter: echo in text[since:])
        anns.enter("")
        eventually(lambda: contents(ben, single(ben, ann)) == [f"{line}XYZ"])


def test_ctrl_c_drops_the_line_and_then_leaves(server: Deployment) -> None:
    with chatting(server, server.person(password=PASSWORD)) as anns:
        anns.type("half a line").until("half a line").type(CTRL_C).until(at_prompt).type(CTRL_C)
        assert anns.ended() == 0
        assert "Traceback" not in anns.text
        assert anns.raw.rstrip().endswith(("\x1b[?25h", "\x1b[?2004l")), "the terminal is as it was"


def test_a_server_that_is_killed_and_restarted_costs_no_message(own: Own, tmp_path: Path) -> None:
    app = own(listen=free_address())
    ann, ben = app.person(password=PASSWORD, nickname="Ann5"), app.person(password=PASSWORD, nickname="Ben5")
    with chatting(app, ann, "--store", str(tmp_path / "ann.db")) as anns, chatting(app, ben) as bens:
        anns.enter("/open Ben5").until("— Ben5 —").enter("one")
        bens.until("Ann5  one")
        app.kill()
        anns.until("no connection").enter("two").until("1 waiting to be sent")
        app.start()
        bens.until("Ann5  two")
        anns.until("Ann5  two")
    ann = app.signed_in(ann.id, ann.username)
    assert contents(ann, conversation_of(ann.send(ben.id, "three"))) == ["three", "two", "one"]


def test_a_session_that_is_revoked_ends_it(server: Deployment) -> None:
    ann = server.person(password=PASSWORD)
    with chatting(server, ann) as anns:
        for session in ann.ListSessions().sessions:
            if not session.current:
                ann.RevokeSession(session_id=session.session_id)
        assert anns.until("gochat: the session has ended; sign in again").ended() == 1


def test_registering_and_a_wrong_password(server: Deployment) -> None:
    terminal = Terminal("chat", "--register", "--address", server.address)
    terminal.until("User: ").enter("newcomer").until("Password: ").enter(PASSWORD)
    terminal.until("no conversation yet", at_prompt)
    assert terminal.type(CTRL_D).ended() == 0
    terminal.close()
    terminal = Terminal("chat", "newcomer", "--address", server.address)
    terminal.until("Password: ").enter("wrong horse")
    assert terminal.until("gochat: ").ended() == 1
    assert "Traceback" not in terminal.text
    terminal.close()
    terminal = Terminal("chat", "newcomer", "--address", server.address)
    terminal.until("Password: ").type(CTRL_C)
    assert terminal.until("gochat: nobody signed in").ended() == 1
    terminal.close()


def test_without_a_terminal_it_says_so() -> None:
    run = gochat("chat", "ann")
    assert (run.returncode, run.stdout, run.stderr) == (1, "", "gochat: no terminal to chat in\n")


@pytest.mark.skipif(sys.executable != PROGRAM, reason="the one file has all that it needs")
def test_without_its_library_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "prompt_toolkit.py").write_text("raise ModuleNotFoundError('gone', name='prompt_toolkit')")
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    run = gochat("chat", "ann", env={"PYTHONPATH": path})
    assert run.stderr == "gochat: the terminal needs prompt_toolkit: pip install 'gochat[chat]'\n"
    assert run.returncode == 1
