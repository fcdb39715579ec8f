"""Groups by the roles of their members, in browsers of their own: each sees at once what another does."""

from collections.abc import Callable
from typing import Any

from tests.harness import PASSWORD, Deployment, fresh
from tests.waiting import eventually
from tests.web.page.pages import Visitor, grouped

Visit = Callable[..., Visitor]


def test_roles_are_given_and_the_group_handed_over(site: Deployment, visit: Visit) -> None:
    ann, ben, people, _ = grouped(site, visit, "Roles")
    ben_name = people[1].username
    ann.details()
    ann.member_act(ben_name, "Make admin")
    ann.member(ben_name).get_by_text("Admin", exact=True).wait_for()
    ben.page.get_by_text("You are now an admin").wait_for()
    ann.member_act(ben_name, "Make owner")
    ann.page.get_by_role("dialog", name="Make owner").get_by_role("button", name="Make owner").click()
    ann.member(ben_name).get_by_text("Owner", exact=True).wait_for()
    ann.member(people[0].username).get_by_text("Admin", exact=True).wait_for()
    ann.page.get_by_role("button", name="Leave group").wait_for()
    ben.details()
    ben.page.get_by_role("button", name="Dissolve group").click()
    ben.page.get_by_role("group", name="Dissolve this group").get_by_role("button", name="Dissolve group").click()
    for visitor in (ann, ben):
        visitor.conversation("Roles").wait_for(state="detached")


def test_who_is_banned_is_listed_and_let_in_again(site: Deployment, visit: Visit) -> None:
    ann, ben, people, group = grouped(site, visit, "Bans")
    ben_name = people[1].username
    ann.details()
    ann.member_act(ben_name, "Ban")
    dialog = ann.page.get_by_role("dialog", name=f"Ban {ben_name}")
    dialog.get_by_label("Duration").select_option("1 week")
    dialog.get_by_label("Reason (optional)").fill("too loud")
    dialog.get_by_role("button", name="Ban", exact=True).click()
    ben.conversation("Bans").wait_for(state="detached")
    ann.page.locator("summary", has_text="Banned members").click()
    banned = ann.page.get_by_role("list", name="Banned members").get_by_role("listitem")
    eventually(lambda: banned.count() == 1)
    eventually(lambda: "too loud" in banned.first.inner_text())
    eventually(lambda: "until" in banned.first.inner_text())
    ann.page.get_by_role("button", name=f"Lift ban of {ben_name}").click()
    banned.wait_for(state="detached")
    people[1].JoinGroup(group_id=group)
    ben.conversation("Bans").wait_for()


def test_who_is_muted_is_told_and_cannot_write(site: Deployment, visit: Visit) -> None:
    ann, ben, people, _ = grouped(site, visit, "Mutes")
    ben_name = people[1].username
    ann.details()
    ann.member_act(ben_name, "Mute")
    dialog = ann.page.get_by_role("dialog", name=f"Mute {ben_name}")
    dialog.get_by_role("button", name="Mute", exact=True).click()
    ben.page.get_by_text("You are muted in this group until").wait_for()
    assert ben.message_box().count() == 0
    ann.member(ben_name).get_by_role("img", name="Muted until").wait_for()
    ann.member_act(ben_name, "Unmute")
    ben.message_box().wait_for()
    ben.say("thanks")
    ann.close()
    ann.sees("welcome", "thanks")


def test_titles_and_names_in_a_group(site: Deployment, visit: Visit) -> None:
    ann, ben, people, _ = grouped(site, visit, "Names")
    ben.say("hello")
    ben_name = people[1].username
    ann.details()
    ann.member_act(ben_name, "Change title")
    ann.page.get_by_role("dialog", name="Change title").get_by_label("Title", exact=True).fill("Treasurer")
    ann.page.get_by_role("dialog", name="Change title").get_by_role("button", name="Save").click()
    ann.member(ben_name).get_by_text("Treasurer").wait_for()
    ben.details()
    ben.member_act(ben_name, "Change name in group")
    ben.page.get_by_role("dialog", name="Change name in group").get_by_label("Name in this group").fill("Benny")
    ben.page.get_by_role("dialog", name="Change name in group").get_by_role("button", name="Save").click()
    ann.member("Benny").get_by_text("Treasurer").wait_for()
    ann.close()
    ann.message("hello").get_by_text("Benny").wait_for()
    ann.message("hello").get_by_text("Treasurer").wait_for()


def test_settings_bind_at_once(site: Deployment, visit: Visit) -> None:
    ann, ben, _people, _ = grouped(site, visit, "Rules")
    ann.details()
    ann.page.locator("summary", has_text="Group settings").click()
    ann.page.get_by_label("Who can write").select_option("Owner and admins")
    ben.page.get_by_text("Only the owner and admins can write here.").wait_for()
    ann.page.get_by_label("Who can write").select_option("All members")
    ben.message_box().wait_for()
    ann.page.get_by_label("Slow mode").select_option("30 seconds")
    ben.page.get_by_text("Slow mode: one message every 30 s").wait_for()
    ben.say("one")
    ann.page.get_by_label("How people join").select_option("By invitation only")
    ann.page.get_by_text("Saved").wait_for()
    ben.say("two")
    ben.page.get_by_role("alert").get_by_text("Slow mode is on.").wait_for()
    ben.details()
    ben.page.locator("summary", has_text="Group settings").click()
    eventually(lambda: ben.page.get_by_label("How people join").is_disabled())
    eventually(lambda: ben.page.get_by_label("How people join").input_value() == "JOINING_INVITATION")


def test_a_link_brings_somebody_in(site: Deployment, visit: Visit) -> None:
    ann, _, _people, _ = grouped(site, visit, "Invited")
    ann.details()
    ann.page.locator("summary", has_text="Invitations").click()
    ann.page.get_by_label("Number of uses").select_option("1")
    ann.page.get_by_role("button", name="Create invitation").click()
    link = ann.page.get_by_role("textbox", name="Invitation link").input_value()
    assert "#/join/" in link
    dan = visit(site)
    site.create_user(name := fresh("dan"))
    dan.sign_in(name)
    dan.page.goto(link)
    dialog = dan.page.get_by_role("dialog", name="Invitation")
    dialog.get_by_role("heading", name="Invited").wait_for()
    dialog.get_by_text("3 members").wait_for()
    dialog.get_by_role("button", name="Join group").click()
    dan.message_box().wait_for()
    dan.say("here I am")
    ann.close()
    ann.sees("welcome", "here I am")
    ann.page.get_by_text(f"{name} joined the group").wait_for()
    late = visit(site)
    site.create_user(other := fresh("eve"))
    late.sign_in(other)
    late.page.goto(link)
    late.page.get_by_text("This invitation is not valid any more.").wait_for()


def test_who_asks_is_let_in_by_a_manager(site: Deployment, visit: Visit) -> None:
    ann, _, people, group = grouped(site, visit, title := fresh("Asked"))
    people[0].UpdateGroupSettings(group_id=group, joining="JOINING_APPROVAL", searchable=True)
    dan = visit(site)
    site.create_user(name := fresh("dan"))
    dan.sign_in(name)

    def ask(note: str) -> None:
        dan.page.get_by_role("button", name="Find groups").click()
        dan.page.get_by_role("searchbox", name="Search groups").fill(title)
        dan.page.get_by_role("button", name=f"Ask to join {title}").click()
        dan.page.get_by_label("Note to the managers (optional)").fill(note)
        dan.page.get_by_role("button", name="Send request").click()
        dan.page.get_by_text("Asked to join").wait_for()
        dan.close()

    ask("please")
    badge = ann.row(title).get_by_role("img", name="1 request")
    badge.wait_for()
    ann.page.goto(ann.url)  # and it is there when nothing of the group is open
    badge.wait_for()
    ann.open(title)
    ann.page.get_by_role("button", name="1 request").click()
    ann.page.get_by_role("list", name="Requests to join").get_by_text("please").wait_for()
    ann.page.get_by_role("button", name=f"Decline {name}").click()
    ann.page.get_by_role("button", name=f"Decline {name}").wait_for(state="detached")
    ask("<b>once more</b>")
    ann.page.get_by_text("<b>once more</b>").wait_for()
    ann.page.get_by_role("button", name=f"Accept {name}").click()
    badge.wait_for(state="detached")
    dan.open(title)
    dan.say("thank you")
    ann.close()
    ann.sees("welcome", "thank you")


def test_an_open_group_is_found_and_joined(site: Deployment, visit: Visit) -> None:
    ann, _, people, group = grouped(site, visit, title := fresh("Open"))
    people[0].UpdateGroupSettings(group_id=group, searchable=True)
    dan = visit(site)
    site.create_user(name := fresh("dan"))
    dan.sign_in(name)
    dan.page.get_by_role("button", name="Find groups").click()
    dan.page.get_by_role("searchbox", name="Search groups").fill(title)
    dan.page.get_by_role("button", name=f"Join {title}").click()
    dan.message_box().wait_for()
    dan.say("hello all")
    ann.sees("welcome", "hello all")


def test_requests_are_shown_to_who_signs_in_elsewhere(site: Deployment, visit: Visit) -> None:
    ann, _, people, group = grouped(site, visit, title := fresh("Asked"))
    people[0].UpdateGroupSettings(group_id=group, joining="JOINING_APPROVAL")
    for other in site.people(2, PASSWORD):
        other.RequestToJoin(group_id=group)
    elsewhere = visit(site)
    elsewhere.sign_in(people[0].username)
    elsewhere.row(title).get_by_role("img", name="2 requests").wait_for()
    ann.row(title).get_by_role("img", name="2 requests").wait_for()
    people[0].SetMemberRole(group_id=group, user_id=people[1].id, role="admin")
    people[0].TransferOwnership(group_id=group, user_id=people[1].id)
    people[1].SetMemberRole(group_id=group, user_id=people[0].id, role="member")
    elsewhere.row(title).get_by_role("img", name="2 requests").wait_for(state="detached")


def test_what_happened_is_said_the_same_after_a_reload(site: Deployment, visit: Visit) -> None:
    ann, ben, people, group = grouped(site, visit, title := fresh("Told"))
    people[0].UpdateGroup(group_id=group, description="only this")
    people[0].UpdateGroup(group_id=group, name=(renamed := f"{title} again"))
    people[0].SetMemberRole(group_id=group, user_id=people[2].id, role="admin")
    people[2].LeaveGroup(group_id=group)
    ann_name, cem = people[0].username, people[2].username
    said = [f"{ann_name} named the group “{renamed}”", f"{cem} is now an admin", f"{cem} left the group"]

    def told(page: Any) -> list[str]:
        lines: list[str] = page.get_by_role("log").locator(".line").all_inner_texts()
        return lines

    eventually(lambda: told(ben.page) == said)
    ben.page.reload()
    eventually(lambda: told(ben.page) == said)
    tab = ben.new_page()
    tab.get_by_role("list", name="Conversations").get_by_role("link", name=renamed).click()
    eventually(lambda: told(tab) == said)
    eventually(lambda: told(ann.page) == [said[0].replace(ann_name, "You"), *said[1:]])
    people[0].RemoveGroupMember(group_id=group, user_id=people[1].id)
    ben.conversation(renamed).wait_for(state="detached")
    kept = "new Promise((done) => (indexedDB.open('gochat ' + location.origin).onsuccess = ({ target }) => {"
    kept += "target.result.transaction('entries').objectStore('entries').getAllKeys().onsuccess = "
    kept += "({ target: { result } }) => (done(result.filter((key) => key.startsWith('app/line/'))))}))"
    eventually(lambda: ben.page.evaluate(kept) == [])


def test_long_lists_are_read_on(site: Deployment, visit: Visit) -> None:
    """Who reacted, who is banned, who asks to come in: more than a page of each."""
    ann, _, people, group = grouped(site, visit, title := fresh("Many"))
    people[0].UpdateGroupSettings(group_id=group, joining="JOINING_APPROVAL")
    others = site.people(51, PASSWORD)
    people[0].AddGroupMember(group_id=group, user_ids=[other.id for other in others])
    sent = people[0].SendMessage(conversation_id=group, content="who is here?").message_id
    for other in others:
        other.AddReaction(message_id=sent, reaction="👍")
    ann.act("who is here?", "Who reacted")
    shown = ann.page.get_by_role("list", name="👍").get_by_role("listitem")
    eventually(lambda: shown.count() == 50)
    eventually(lambda: ann.page.get_by_role("heading", name="👍 51").is_visible())
    ann.page.get_by_role("button", name="Show more").click()
    eventually(lambda: shown.count() == 51)
    assert ann.page.get_by_role("button", name="Show more").count() == 0
    ann.close()

    for other in others:
        people[0].BanMember(group_id=group, user_id=other.id)
    ann.details()
    ann.page.locator("summary", has_text="Banned members").click()
    shown = ann.page.get_by_role("list", name="Banned members").get_by_role("listitem")
    eventually(lambda: shown.count() == 50)
    ann.page.get_by_role("button", name="Show more").click()
    eventually(lambda: shown.count() == 51)
    ann.page.get_by_role("button", name=f"Lift ban of {others[30].username}").click()
    eventually(lambda: shown.count() == 50)
    ann.close()

    for asking in site.people(51, PASSWORD):
        asking.RequestToJoin(group_id=group)
    ann.row(title).get_by_role("img", name="50+ requests").wait_for()
    ann.page.get_by_role("button", name="50+ requests").click()
    shown = ann.page.get_by_role("list", name="Requests to join").get_by_role("listitem")
    eventually(lambda: shown.count() == 50)
    ann.page.get_by_role("button", name="Show more").click()
    eventually(lambda: shown.count() == 51)


def test_a_narrow_page_has_room_for_names(site: Deployment, visit: Visit) -> None:
    ann, _, people, group = grouped(site, visit, "Sunday walkers", viewport={"width": 360, "height": 740})
    people[1].UpdateUserProfile(nickname="Benjamin Okafor")
    people[0].UpdateGroupSettings(group_id=group, joining="JOINING_APPROVAL")
    site.person(password=PASSWORD).RequestToJoin(group_id=group)
    ann.page.get_by_role("button", name="1 request").wait_for()
    is_whole = "(element) => element.scrollWidth <= element.clientWidth"
    eventually(lambda: ann.page.get_by_role("heading", name="Sunday walkers").evaluate(is_whole))
    ann.details()
    eventually(lambda: ann.member("Benjamin Okafor").locator("strong").evaluate(is_whole))
