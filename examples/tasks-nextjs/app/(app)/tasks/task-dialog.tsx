"use client";

import { useEffect, useId, useRef, useState } from "react";
import { Field, SubmitButton, TextArea } from "@/components/fields";
import { FormAlert, useForm } from "@/components/form";
import { ApiError, type Task, type tasksApi } from "@/lib/api";
import { formErrors, message } from "./task-board";

interface Props {
  task: Task;
  api: ReturnType<typeof tasksApi>;
  onClose: () => void;
  onChanged: (task: Task) => void;
  onRemoved: (task: Task) => void;
  /** Somebody has deleted it meanwhile, in another tab perhaps. */
  onGone: (task: Task) => void;
}

export function TaskDialog({ task, api, onClose, onChanged, onRemoved, onGone }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const heading = useId();
  const [asked, setAsked] = useState(false);
  const [removing, setRemoving] = useState(false);
  const [problem, setProblem] = useState<string>();

  // A modal dialog of the browser's keeps the focus inside, closes with Escape, and gives the focus back.
  useEffect(() => dialog.current?.showModal(), []);

  const isGone = (error: unknown) => error instanceof ApiError && error.status === 404;

  const { errors, pending, formProps } = useForm(async (data) => {
    const title = `${data.get("title")}`.trim();
    if (!title) return { fields: { title: "Enter what there is to do." } };
    try {
      onChanged(await api.change(task.id, { title, description: `${data.get("description")}`.trim() || null }));
      dialog.current?.close();
      return "done";
    } catch (error) {
      if (!isGone(error)) return formErrors(error);
      onGone(task);
      return "done";
    }
  });

  async function remove() {
    if (removing) return;
    // The second click of two: a task that is gone is gone.
    if (!asked) return setAsked(true);
    setRemoving(true);
    setProblem(undefined);
    try {
      await api.remove(task.id);
      onRemoved(task);
    } catch (error) {
      if (isGone(error)) return onGone(task);
      setProblem(message(error));
      setRemoving(false);
    }
  }

  return (
    <dialog ref={dialog} className="dialog" aria-labelledby={heading} onClose={onClose}>
      <h2 id={heading}>Edit task</h2>
      <form {...formProps}>
        <FormAlert message={errors.form ?? problem} />
        <Field name="title" label="Title" type="text" defaultValue={task.title} maxLength={200} autoComplete="off" error={errors.fields.title} />
        <TextArea
          name="description"
          label="Description (optional)"
          defaultValue={task.description ?? ""}
          rows={4}
          maxLength={2000}
          error={errors.fields.description}
        />
        <div className="actions">
          <SubmitButton pending={pending} busy="Saving…">
            Save
          </SubmitButton>
          <button type="button" className="button button-quiet" onClick={() => dialog.current?.close()}>
            Cancel
          </button>
          <button type="button" className="button button-danger" aria-disabled={removing} onClick={remove} onBlur={() => setAsked(false)}>
            {removing ? "Deleting…" : asked ? "Really delete?" : "Delete"}
          </button>
        </div>
        <p role="status" className="visually-hidden">
          {asked && "Press again to delete this task."}
        </p>
      </form>
    </dialog>
  );
}
