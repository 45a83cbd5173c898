/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 *
 * @typedef {object} TokenPair
 * @property {string} access_token
 * @property {string} refresh_token
 * @property {number} expires_in Lifetime of the access token in seconds.
 *
 * @typedef {object} Tokens
 * @property {string} access_token
 * @property {string} refresh_token
 * @property {number} renew_at When to replace the access token, in milliseconds since 1970.
 */

const TOKENS = "tokens";
const HAS_ENDED = "sign-in-ended";
// A stream ends with its access token, and an answer that was cut off cannot be continued. So no request starts with a
// token that is about to expire.
const REMAINING_MILLISECONDS = 120_000;

/**
 * The session of this tab: stores its tokens, adds them to requests, and refreshes them.
 *
 * They are in `sessionStorage`, so that a reload, even during an answer, does not require the password, and closing the
 * tab ends the session. They are not in `localStorage`: a refresh token is valid once, and two tabs sharing one would
 * end each other's session. The access token is stored, too: it is worth less to an attacker than the refresh token
 * beside it, and without it every reload would use a refresh token, whose successor is lost if the page is reloaded
 * again before the response arrives. A foreign script could read both tokens, but the Content-Security-Policy blocks
 * foreign scripts, and output of servers and models is inserted as text, never as markup.
 *
 * @param {Page} page
 */
export function openSession({ request, identifyBy, Problem }) {
  let tokens = read();
  /** @type {Promise<boolean> | null} */
  let renewing = null;

  identifyBy({
    headers: async () => {
      // If the server cannot be reached, the request itself fails and is reported.
      if (tokens && Date.now() > tokens.renew_at) await renewOnce(tokens).catch(() => {});
      return tokens ? { Authorization: `Bearer ${tokens.access_token}` } : {};
    },
    renew: async (sent) => {
      if (!tokens) return false;
      const isOld = sent.Authorization !== `Bearer ${tokens.access_token}`; // another request has refreshed the token
      return isOld || renewOnce(tokens);
    },
  });

  /** @param {Tokens} expired */
  function renewOnce(expired) {
    return (renewing ??= renew(expired).finally(() => (renewing = null)));
  }

  /** @param {Tokens} expired */
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
   * @throws {import("../../shared/page/problem.js").Problem} With 401 if the credentials are wrong.
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
  function keep({ access_token, refresh_token, expires_in }) {
    const lifetime = expires_in * 1000;
    const renew_at = Date.now() + lifetime - Math.min(REMAINING_MILLISECONDS, lifetime / 2);
    tokens = { access_token, refresh_token, renew_at };
    sessionStorage.setItem(TOKENS, JSON.stringify(tokens));
  }

  return { isOpen: () => tokens !== null, signIn, signOut };
}

/**
 * Discard the tokens, and reload to clear the page's content: the next user may be another person.
 *
 * @param {{unasked: boolean}} how Whether the session ended without the user's request.
 */
function end({ unasked }) {
  sessionStorage.removeItem(TOKENS);
  if (unasked) sessionStorage.setItem(HAS_ENDED, "true");
  else history.replaceState(null, "", location.pathname + location.search); // its hash may name a thread
  location.reload();
}

/** End the session after the server has ended it at the user's request. */
export function endSession() {
  end({ unasked: false });
}

/** Return whether the last session has expired; true only once. */
export function hasJustEnded() {
  const ended = sessionStorage.getItem(HAS_ENDED) !== null;
  sessionStorage.removeItem(HAS_ENDED);
  return ended;
}

/** @returns {Tokens | null} */
function read() {
  return JSON.parse(sessionStorage.getItem(TOKENS) ?? "null");
}
