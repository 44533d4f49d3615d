"use client";

import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { flushSync } from "react-dom";
import { Field, SubmitButton } from "@/components/fields";
import { FormAlert, useForm } from "@/components/form";
import { ApiError, tasksApi, type Task } from "@/lib/api";
import type { FormErrors } from "@/lib/auth-errors";
import { TaskDialog } from "./task-dialog";

export type Show = "all" | "open" | "done";

const PAGE = 50;
const COMPLETED = { all: undefined, open: false, done: true };
const EMPTY = {
  all: "No tasks yet. Add your first one above.",
  open: "Nothing is waiting.",
  done: "Nothing is done yet.",
};

export const message = (error: unknown) =>
  error instanceof ApiError && error.message ? error.message : "Something went wrong. Try again in a moment.";

export const formErrors = (error: unknown): FormErrors =>
  error instanceof ApiError && error.status === 422
    ? { form: error.message || undefined, fields: error.fields }
    : { form: message(error), fields: {} };

export function TaskBoard({ show, apiUrl, userId }: { show: Show; apiUrl: string; userId: string }) {
  const api = useMemo(() => tasksApi(apiUrl, userId), [apiUrl, userId]);
  const [tasks, setTasks] = useState<Task[] | null>(null);
  const [more, setMore] = useState(false);
  const [problem, setProblem] = useState<string>();
  const [said, setSaid] = useState("");
  // Numbered, because the browser says that a dialog has closed a moment after it has: by then the next may be open.
  const [edited, setEdited] = useState<{ task: Task; opening: number } | null>(null);
  const edit = (task: Task) => setEdited((before) => ({ task, opening: (before?.opening ?? 0) + 1 }));
  const title = useRef<HTMLInputElement>(null);

  const load = useCallback(
    async (offset: number) => {
      setProblem(undefined);
      try {
        const page = await api.list({ completed: COMPLETED[show], limit: PAGE, offset });
        // Tasks that were added meanwhile may be missing in this page, or may have moved others into it: all are
        // kept, and none is shown twice.
        setTasks((old) => {
          const fresh = (old ?? []).filter(({ id }) => !page.some((one) => one.id === id));
          return offset === 0 ? [...fresh, ...page] : [...(old ?? []), ...page.filter(({ id }) => !old?.some((one) => one.id === id))];
        });
        setMore(page.length === PAGE);
      } catch (error) {
        setProblem(message(error));
      }
    },
    [api, show],
  );

  useEffect(() => {
    void load(0);
  }, [load]);

  useEffect(() => {
    const timer = setTimeout(() => setSaid(""), 6_000);
    return () => clearTimeout(timer);
  }, [said]);

  const replace = (task: Task) => setTasks((old) => old && old.map((one) => (one.id === task.id ? task : one)));

  const { errors, pending, formProps } = useForm(async (data, form) => {
    const text = `${data.get("title")}`.trim();
    if (!text) return { fields: { title: "Enter what there is to do." } };
    try {
      const task = await api.create({ title: text });
      form.reset();
      title.current?.focus();
      if (show !== "done") setTasks((old) => [task, ...(old ?? [])]);
      setSaid(`Added: ${task.title}`);
      return "done";
    } catch (error) {
      return formErrors(error);
    }
  });

  async function complete(task: Task, completed: boolean) {
    setProblem(undefined);
    // Shown at once, and taken back when it did not work.
    replace({ ...task, completed });
    try {
      replace(await api.complete(task.id, completed));
      setSaid(completed ? `Done: ${task.title}` : `Open again: ${task.title}`);
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return gone(task);
      replace(task);
      setProblem(message(error));
    }
  }

  /** Takes a task off the list and puts the focus on what follows it, because its own place is no longer there. */
  function drop(task: Task) {
    const at = tasks?.findIndex(({ id }) => id === task.id) ?? -1;
    const neighbour = tasks?.[at + 1] ?? tasks?.[at - 1];
    flushSync(() => {
      setEdited((now) => (now?.task.id === task.id ? null : now));
      setTasks((old) => old && old.filter(({ id }) => id !== task.id));
    });
    // The dialog of another one may have been opened meanwhile.
    if (document.querySelector("dialog[open]")) return;
    (neighbour ? document.getElementById(`task-${neighbour.id}`) : title.current)?.focus();
  }

  function gone(task: Task) {
    drop(task);
    setSaid(`No longer there: ${task.title}`);
  }

  return (
    <>
      <form {...formProps} className="add-task">
        <FormAlert message={errors.form} />
        <Field ref={title} name="title" label="New task" type="text" maxLength={200} autoComplete="off" error={errors.fields.title} />
        <SubmitButton pending={pending} busy="Adding…">
          Add task
        </SubmitButton>
      </form>

      <div role="alert" className="alert-slot">
        {problem && (
          <div className="notice notice-error">
            <p>{problem}</p>
            {tasks === null && (
              <button type="button" className="button button-quiet" onClick={() => load(0)}>
                Try again
              </button>
            )}
          </div>
        )}
      </div>

      {tasks === null ? (
        !problem && (
          <p className="loading" role="status">
            <span className="spinner" aria-hidden="true" /> Loading your tasks…
          </p>
        )
      ) : tasks.length === 0 ? (
        <p className="empty">{EMPTY[show]}</p>
      ) : (
        <ul className="tasks" aria-label="Tasks">
          {tasks.map((task) => (
            <li key={task.id} className="task" data-completed={task.completed}>
              <input
                type="checkbox"
                id={`task-${task.id}`}
                checked={task.completed}
                onChange={(event) => complete(task, event.target.checked)}
                aria-describedby={task.description ? `about-${task.id}` : undefined}
              />
              <div className="task-text">
                <label htmlFor={`task-${task.id}`}>{task.title}</label>
                {task.description && <p id={`about-${task.id}`}>{task.description}</p>}
              </div>
              <button type="button" className="button-small" onClick={() => edit(task)}>
                Edit<span className="visually-hidden"> {task.title}</span>
              </button>
            </li>
          ))}
        </ul>
      )}

      {more && tasks && (
        <button type="button" className="button button-quiet" onClick={() => load(tasks.length)}>
          Show more
        </button>
      )}

      {edited && (
        <TaskDialog
          key={edited.opening}
          task={edited.task}
          api={api}
          onClose={() => setEdited((now) => (now?.opening === edited.opening ? null : now))}
          onChanged={(task) => {
            replace(task);
            setSaid(`Saved: ${task.title}`);
          }}
          onRemoved={(task) => {
            drop(task);
            setSaid(`Deleted: ${task.title}`);
          }}
          onGone={gone}
        />
      )}

      {/* Always there, so that screen readers notice what is put into it. */}
      <p role="status" className="toast">
        {said}
      </p>
    </>
  );
}
