"use client";

import { Field, PasswordField, SubmitButton } from "@/components/fields";
import { FormAlert, useForm } from "@/components/form";
import { authClient } from "@/lib/auth-client";
import { authErrors } from "@/lib/auth-errors";
import { leaveFor } from "@/lib/leave";

export function SignInForm({ next }: { next: string }) {
  const { errors, pending, formProps } = useForm(async (data) => {
    const email = `${data.get("email")}`.trim();
    const password = `${data.get("password")}`;
    if (!email || !password) {
      return { fields: { ...(!email && { email: "Enter your email address." }), ...(!password && { password: "Enter your password." }) } };
    }
    const { error } = await authClient.signIn.email({ email, password });
    if (error) return authErrors(error);
    leaveFor(next);
    return "done";
  });

  return (
    <form {...formProps}>
      <FormAlert message={errors.form} />
      <Field name="email" label="Email address" type="email" autoComplete="username" inputMode="email" error={errors.fields.email} />
      <PasswordField name="password" label="Password" autoComplete="current-password" error={errors.fields.password} />
      <SubmitButton pending={pending} busy="Signing in…">
        Sign in
      </SubmitButton>
    </form>
  );
}
