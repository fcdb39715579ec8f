// Groups that one may come into: those that can be found, and the one that an invitation is for.

import { client, html, select, useEffect, useState, useUpdates } from "./ui.js";
import { errorText, t } from "./text.js";
import { Avatar, Dialog, ErrorNote, Field } from "./parts.js";

const SEARCH_AFTER_MS = 200;

export function FindGroups({ onclose }) {
  const [query, setQuery] = useState("");
  const [{ groups, error, nextPageToken }, setFound] = useState({ groups: null, error: null, nextPageToken: "" });
  useUpdates("conversations");
  const search = async (pageToken = "") => {
    try {
      const found = await client.searchGroups(query.trim(), { pageToken });
      const before = pageToken ? groups : [];
      setFound({ groups: [...before, ...found.groups], error: null, nextPageToken: found.nextPageToken });
    } catch (failed) {
      setFound({ groups: groups ?? [], error: failed, nextPageToken: "" });
    }
  };
  useEffect(() => {
    const timer = setTimeout(search, query ? SEARCH_AFTER_MS : 0);
    return () => clearTimeout(timer);
  }, [query]);
  return html`<${Dialog} title=${t("findGroups")} onclose=${onclose}>
    <${Field} label=${t("searchGroups")} type="search" maxlength="64" autocomplete="off" value=${query}
      onInput=${({ target }) => setQuery(target.value)} />
    <${ErrorNote} error=${error} />
    <ul role="list" class="people" aria-label=${t("filter_groups")}>
      ${(groups ?? []).map((group) => html`<li key=${group.groupId}><${Found} group=${group} onclose=${onclose} /></li>`)}
    </ul>
    ${nextPageToken && html`<button type="button" class="secondary" onClick=${() => search(nextPageToken)}>${t("showMore")}</button>`}
    <p class="quiet" role="status">${groups && !groups.length && !error ? t("noGroupsFound") : ""}</p>
  <//>`;
}

function Found({ group, onclose }) {
  const { groupId, name, avatar, memberCount, description } = group;
  const members = memberCount === 1 ? t("oneMember") : t("membersCount", { n: memberCount });
  return html`<div class="found">
    <div class="person">
      <${Avatar} id=${groupId} name=${name} avatar=${avatar} size="small" />
      <span class="names"><strong dir="auto">${name}</strong><small dir="auto">${members}${description.trim() && ` · ${description}`}</small></span>
      <${ComeIn} group=${group} onclose=${onclose} join=${() => client.joinGroup(groupId)} />
    </div>
  </div>`;
}

/** How one comes into a group: by joining, or by asking to. join(): joins it. */
function ComeIn({ group: { groupId, joining, name }, onclose, join, isInvited = false }) {
  const [state, setState] = useState({ step: "", error: null });
  const open = () => {
    onclose();
    select(groupId);
  };
  const act = async (call, step) => {
    try {
      await call();
      setState({ step, error: null });
      if (step === "joined") open();
    } catch (error) {
      if (error.reason === "ALREADY_A_MEMBER") return open();
      setState((before) => ({ ...before, error }));
    }
  };
  const ask = (event) => {
    event.preventDefault();
    act(() => client.requestToJoin(groupId, new FormData(event.currentTarget).get("note").trim()), "asked");
  };
  const problem = state.error && html`<p class="error" role="alert">${errorText(state.error)}</p>`;
  if (client.conversation(groupId)) {
    return html`<button type="button" class="secondary" aria-label=${t("openNamed", { name })} onClick=${open}>${t("open")}</button>`;
  }
  if (state.step === "asked") {
    return html`<span class="quiet" role="status">${t("asked")}</span>
      <button type="button" class="secondary" onClick=${() => act(() => client.cancelRequest(groupId), "")}>${t("withdraw")}</button>${problem}`;
  }
  if (state.step === "asking") {
    return html`<form class="ask" onSubmit=${ask}>
      <${Field} label=${t("note")} name="note" maxlength="500" autocomplete="off" />
      <button class="primary">${t("sendRequest")}</button>${problem}
    </form>`;
  }
  if (isInvited || joining === "JOINING_OPEN") {
    return html`<button type="button" class="primary" aria-label=${isInvited ? undefined : t("joinNamed", { name })}
      onClick=${() => act(join, "joined")}>${t(isInvited ? "joinGroup" : "join")}</button>${problem}`;
  }
  if (joining === "JOINING_APPROVAL") {
    return html`<button type="button" class="secondary" aria-label=${t("askNamed", { name })}
      onClick=${() => setState({ step: "asking", error: null })}>${t("askToJoin")}</button>`;
  }
  return html`<span class="quiet">${t("byInvitation")}</span>`;
}

/** What a link to #/join/TOKEN shows. */
export function Invited({ token, onclose }) {
  const [{ group, error }, setFound] = useState({ group: null, error: null });
  useUpdates("conversations");
  useEffect(() => {
    client.invitation(token).then((found) => setFound({ group: found, error: null }), (failed) => setFound({ group: null, error: failed }));
  }, [token]);
  const problem = error?.code === "not_found" ? { message: t("invitationGone") } : error;
  return html`<${Dialog} title=${t("invitation")} onclose=${onclose}>
    <${ErrorNote} error=${problem} />
    ${!group && !error && html`<p class="quiet" role="status">${t("loading")}</p>`}
    ${group && html`<div class="portrait">
      <${Avatar} id=${group.groupId} name=${group.name} avatar=${group.avatar} size="large" />
      <h3 dir="auto">${group.name}</h3>
      <p class="quiet">${group.memberCount === 1 ? t("oneMember") : t("membersCount", { n: group.memberCount })}</p>
      ${group.description.trim() && html`<p class="prose" dir="auto">${group.description}</p>`}
      <${ComeIn} group=${group} isInvited join=${() => client.joinByInvitation(token)} onclose=${onclose} />
    </div>`}
  <//>`;
}
