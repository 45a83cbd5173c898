/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 *
 * @typedef {object} TokenPair
 * @property {string} access_token
 * @property {string} refresh_token
 */

const TOKENS = "tokens";
const HAS_ENDED = "sign-in-ended";

/**
 * The sign-in of this tab: keeps its tokens, shows them with every request, and renews them.
 *
 * They are kept in `sessionStorage`, so that a reload, perhaps in the middle of an answer, need not ask for a password
 * again, and closing the tab ends it. Not in `localStorage`: a refresh token is good for one use, and two tabs that
 * share one would end each other's sign-in. The access token is there too, and not in memory alone: it is worth less to
 * a thief than the token beside it, and without it every reload would spend a refresh token, whose successor is lost
 * if one reloads again before it has come. A script of somebody else's could read both; the page's policy lets none in,
 * and what a server or a model says becomes text, never markup.
 *
 * @param {Page} page
 */
export function openSession({ request, identifyBy, Problem }) {
  let tokens = read();
  /** @type {Promise<boolean> | null} */
  let renewing = null;

  identifyBy({
    headers: () => (tokens ? { Authorization: `Bearer ${tokens.access_token}` } : {}),
    renew: async (sent) => {
      if (!tokens) return false;
      const isOld = sent.Authorization !== `Bearer ${tokens.access_token}`; // somebody else was faster
      return isOld || (renewing ??= renew(tokens).finally(() => (renewing = null)));
    },
  });

  /** @param {TokenPair} expired */
  async function renew({ refresh_token }) {
    try {
      keep(await (await request("auth/refresh", { method: "POST", body: { refresh_token }, anonymous: true })).json());
      return true;
    } catch (error) {
      if (error instanceof Problem && error.status === 401) end({ unasked: true });
      throw error;
    }
  }

  /**
   * @param {string} email
   * @param {string} password
   * @throws {import("../../shared/page/problem.js").Problem} With 401, if they do not belong together.
   */
  async function signIn(email, password) {
    const body = new URLSearchParams({ grant_type: "password", username: email, password });
    keep(await (await request("auth/token", { method: "POST", body, anonymous: true })).json());
  }

  async function signOut() {
    if (tokens) {
      const body = { refresh_token: tokens.refresh_token };
      await request("auth/logout", { method: "POST", body, anonymous: true, keepalive: true });
    }
    end({ unasked: false });
  }

  /** @param {TokenPair} pair */
  function keep({ access_token, refresh_token }) {
    tokens = { access_token, refresh_token };
    sessionStorage.setItem(TOKENS, JSON.stringify(tokens));
  }

  return { isOpen: () => tokens !== null, signIn, signOut };
}

/**
 * Forget the tokens, and with a reload whatever the page has shown: the next to sign in may be somebody else.
 *
 * @param {{unasked: boolean}} how Whether nobody has asked for it.
 */
function end({ unasked }) {
  sessionStorage.removeItem(TOKENS);
  if (unasked) sessionStorage.setItem(HAS_ENDED, "true");
  else history.replaceState(null, "", location.pathname + location.search); // its hash may name a thread
  location.reload();
}

/** Whether the last sign-in has ended unasked. It is told once. */
export function hasJustEnded() {
  const ended = sessionStorage.getItem(HAS_ENDED) !== null;
  sessionStorage.removeItem(HAS_ENDED);
  return ended;
}

/** @returns {TokenPair | null} */
function read() {
  return JSON.parse(sessionStorage.getItem(TOKENS) ?? "null");
}
