import { useActionState } from "react";
import { register, signIn } from "./session";

export function SignIn() {
  const [error, submit, isPending] = useActionState(async (_: string, form: FormData) => {
    const email = String(form.get("email"));
    const password = String(form.get("password"));
    try {
      if (form.get("intent") === "register") await register(email, email.split("@")[0] ?? email, password);
      else await signIn(email, password);
      return "";
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }, "");

  return (
    <form className="sign-in" action={submit}>
      <h1>Agent chat</h1>
      <label>
        E-mail <input name="email" type="email" autoComplete="username" required />
      </label>
      <label>
        Password <input name="password" type="password" autoComplete="current-password" required />
      </label>
      {error && <p role="alert">{error}</p>}
      <div className="row">
        <button name="intent" value="sign-in" className="primary" disabled={isPending}>
          Sign in
        </button>
        <button name="intent" value="register" disabled={isPending}>
          Create an account
        </button>
      </div>
    </form>
  );
}
