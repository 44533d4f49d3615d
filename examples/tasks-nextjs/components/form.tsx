"use client";

import { useEffect, useRef, useState, type FormEvent } from "react";
import type { FormErrors } from "@/lib/auth-errors";

const NONE: FormErrors = { fields: {} };

/**
 * A form that sends itself by script. `submit` answers "done" or what is wrong; the first wrong field gets the
 * focus, so that screen readers read its error, and what belongs to no field is announced by FormAlert.
 */
export function useForm(submit: (data: FormData, form: HTMLFormElement) => Promise<FormErrors | "done">) {
  const form = useRef<HTMLFormElement>(null);
  const [errors, setErrors] = useState(NONE);
  const [pending, setPending] = useState(false);

  useEffect(() => {
    // Once the errors are on the page.
    form.current?.querySelector<HTMLElement>("[aria-invalid=true]")?.focus();
  }, [errors]);

  async function onSubmit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    if (pending) return;
    const target = event.currentTarget;
    setPending(true);
    // What is said a second time is then announced a second time.
    setErrors(NONE);
    const result = await submit(new FormData(target), target).catch(() => ({
      form: "The service cannot be reached just now. Check your connection, then try again.",
      fields: {},
    }));
    setErrors(result === "done" ? NONE : result);
    setPending(false);
  }

  // Our own messages instead of the browser's, and POST: should a form be sent before its script is there, the
  // browser would otherwise write a password into the address.
  return { errors, pending, formProps: { ref: form, noValidate: true, method: "post", onSubmit, "aria-busy": pending } as const };
}

/** What is wrong with the form as a whole. The element is always there; screen readers announce what changes in it. */
export function FormAlert({ message }: { message: string | undefined }) {
  return (
    <div role="alert" className="form-alert">
      {message && <p>{message}</p>}
    </div>
  );
}
