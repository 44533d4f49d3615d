"use client";

import { Field, PasswordField, SubmitButton } from "@/components/fields";
import { FormAlert, useForm } from "@/components/form";
import { authClient } from "@/lib/auth-client";
import { authErrors } from "@/lib/auth-errors";
import { leaveFor } from "@/lib/leave";

export function SignUpForm({ next }: { next: string }) {
  const { errors, pending, formProps } = useForm(async (data) => {
    const name = `${data.get("name")}`.trim();
    const email = `${data.get("email")}`.trim();
    const password = `${data.get("password")}`;
    // What makes a good password is Portcullis' to say (`emailAndPassword`), so that it is said in one place only.
    if (!name || !email || !password) {
      return {
        fields: {
          ...(!name && { name: "Enter your name." }),
          ...(!email && { email: "Enter your email address." }),
          ...(!password && { password: "Choose a password." }),
        },
      };
    }
    const { error } = await authClient.signUp.email({ name, email, password });
    if (error) return authErrors(error);
    leaveFor(next);
    return "done";
  });

  return (
    <form {...formProps}>
      <FormAlert message={errors.form} />
      <Field name="name" label="Name" type="text" autoComplete="name" error={errors.fields.name} />
      <Field name="email" label="Email address" type="email" autoComplete="username" inputMode="email" error={errors.fields.email} />
      <PasswordField
        name="password"
        label="Password"
        autoComplete="new-password"
        hint="At least 8 characters. A few words in a row are easy to remember and hard to guess."
        error={errors.fields.password}
      />
      <SubmitButton pending={pending} busy="Creating your account…">
        Create account
      </SubmitButton>
    </form>
  );
}
