"use client";

import { useId, useState, useSyncExternalStore, type ComponentProps, type ReactNode } from "react";

interface Described {
  name: string;
  label: string;
  hint?: string | undefined;
  error?: string | undefined;
}

/** Ids and attributes that tie label, control, hint and error together. */
function useDescription({ name, hint, error }: Described) {
  const id = useId();
  const described = [error && `${id}-error`, hint && `${id}-hint`].filter(Boolean).join(" ");
  return {
    control: {
      id,
      name,
      "aria-invalid": Boolean(error),
      "aria-describedby": described || undefined,
      // Not `required`: the browser would announce every empty field as wrong from the start.
      "aria-required": true,
    },
    notes: (
      <>
        {hint && (
          <p className="field-hint" id={`${id}-hint`}>
            {hint}
          </p>
        )}
        {error && (
          <p className="field-error" id={`${id}-error`}>
            {error}
          </p>
        )}
      </>
    ),
  };
}

type InputProps = Omit<ComponentProps<"input">, "name" | "id"> & Described;

export function Field({ label, hint, error, name, ...input }: InputProps) {
  const { control, notes } = useDescription({ name, label, hint, error });
  return (
    <div className="field">
      <label htmlFor={control.id}>{label}</label>
      <input {...input} {...(input.type === "email" && { autoCapitalize: "none", spellCheck: false })} {...control} />
      {notes}
    </div>
  );
}

export function TextArea({ label, hint, error, name, ...textarea }: Omit<ComponentProps<"textarea">, "name" | "id"> & Described) {
  const { control, notes } = useDescription({ name, label, hint, error });
  return (
    <div className="field">
      <label htmlFor={control.id}>{label}</label>
      <textarea {...textarea} {...control} aria-required={undefined} />
      {notes}
    </div>
  );
}

export function PasswordField({ label, hint, error, name, ...input }: InputProps) {
  const { control, notes } = useDescription({ name, label, hint, error });
  const [shown, setShown] = useState(false);
  return (
    <div className="field">
      <label htmlFor={control.id}>{label}</label>
      <div className="password">
        <input
          {...input}
          {...control}
          type={shown ? "text" : "password"}
          autoCapitalize="none"
          autoCorrect="off"
          spellCheck={false}
        />
        {/* The name stays the same and the state changes; "Hide password, pressed" would say it twice over. */}
        <button type="button" className="password-toggle" aria-pressed={shown} aria-controls={control.id} onClick={() => setShown(!shown)}>
          <svg viewBox="0 0 24 24" width="20" height="20" aria-hidden="true">
            <path d="M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12Z" />
            <circle cx="12" cy="12" r="3" />
            {!shown && <path d="m4 20 16-16" />}
          </svg>
          <span className="visually-hidden">Show password</span>
        </button>
      </div>
      {notes}
    </div>
  );
}

const never = () => () => {};

/**
 * Disabled until the page's script is there: a form that is sent before would be a page load, and what was typed
 * would be gone. Not while it works, because a disabled button loses the focus.
 */
export function SubmitButton({ pending, busy, children }: { pending: boolean; busy: string; children: ReactNode }) {
  const ready = useSyncExternalStore(never, () => true, () => false);
  return (
    <button type="submit" className="button" disabled={!ready} aria-disabled={pending}>
      {pending && <span className="spinner" aria-hidden="true" />}
      {pending ? busy : children}
    </button>
  );
}
