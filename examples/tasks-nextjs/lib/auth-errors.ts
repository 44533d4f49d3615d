/** Portcullis' refusals, as Better Auth's client hands them on: each at the field that it is about. */
export interface AuthError {
  status: number;
  code?: string | undefined;
  message?: string | undefined;
}

export type FieldErrors = Partial<Record<string, string>>;

/** `form` is what belongs to no field. */
export interface FormErrors {
  form?: string | undefined;
  fields: FieldErrors;
}

export function authErrors({ status, code = "", message }: AuthError): FormErrors {
  if (status === 429) return { form: "Too many attempts. Wait a moment, then try again.", fields: {} };
  if (status === 0 || status >= 500) {
    return { form: "The sign-in service cannot be reached just now. Try again in a moment.", fields: {} };
  }
  const said = message || "This did not work. Try again.";
  switch (code) {
    case "INVALID_EMAIL_OR_PASSWORD":
      // Which of the two is wrong is nobody's business, so it is said of neither.
      return { form: "The email address or the password is wrong.", fields: {} };
    case "USER_ALREADY_EXISTS":
    case "USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL":
      return { fields: { email: "There is an account with this address already. Sign in, or take another address." } };
    case "INVALID_EMAIL":
      return { fields: { email: "This is not an email address." } };
    case "PASSWORD_TOO_SHORT":
      return { fields: { password: "The password is too short." } };
    case "PASSWORD_TOO_LONG":
      return { fields: { password: "The password is too long." } };
    case "VALIDATION_ERROR": {
      // "[body.email] Invalid input: …"
      const field = /^\[body\.(name|email|password)\]\s*(.*)$/.exec(said);
      return field ? { fields: { [field[1]!]: field[2]! } } : { form: said, fields: {} };
    }
    default:
      // Rules of `emailAndPassword.passwordPolicy` have many codes; their messages say what to do.
      return code.includes("PASSWORD") ? { fields: { password: said } } : { form: said, fields: {} };
  }
}
