// The client of the task API. It attaches a JWT, which lives in this module's memory and nowhere else: a script
// from elsewhere could read localStorage, and a token there would outlive the sign-out.
import { authClient } from "./auth-client";
import type { FieldErrors } from "./auth-errors";
import { leaveForSignIn } from "./leave";

export interface Task {
  id: string;
  user_id: string;
  title: string;
  description: string | null;
  completed: boolean;
  created_at: string;
  updated_at: string;
}

export class ApiError extends Error {
  override name = "ApiError";

  constructor(
    /** 0 when there was no answer. */
    readonly status: number,
    message: string,
    /** What is wrong with single fields (422). */
    readonly fields: FieldErrors = {},
  ) {
    super(message);
  }
}

let token: string | null = null;
let renewal: Promise<string> | null = null;

/** At sign-out. */
export function forgetToken(): void {
  token = null;
}

/** The page is about to go; whoever waits for an answer waits until then instead of showing an error. */
const never = () => new Promise<never>(() => {});

/** A new token, fetched once however many requests ask at the same time. */
function renew(userId: string): Promise<string> {
  token = null;
  renewal ??= fetchToken(userId)
    .then((fresh) => (token = fresh))
    .finally(() => (renewal = null));
  return renewal;
}

async function fetchToken(userId: string): Promise<string> {
  const { data, error } = await authClient
    .token()
    .catch(() => ({ data: null, error: { status: 0 } }));
  if (error?.status === 401) {
    leaveForSignIn("expired");
    return never();
  }
  if (!data?.token) throw new ApiError(error?.status ?? 0, "The sign-in service cannot be reached just now. Try again in a moment.");
  // Cookies belong to all tabs. When somebody else has signed in in another one, this page is not theirs.
  if (subject(data.token) !== userId) {
    window.location.reload();
    return never();
  }
  return data.token;
}

/** Whom a token is about. Only to compare: whether it is true, the API finds out. */
function subject(jwt: string): unknown {
  try {
    const payload = jwt.split(".")[1]!.replaceAll("-", "+").replaceAll("_", "/");
    return (JSON.parse(atob(payload)) as { sub?: unknown }).sub;
  } catch {
    return undefined;
  }
}

async function request<T>(apiUrl: string, userId: string, method: string, path: string, body?: unknown): Promise<T> {
  const send = (jwt: string) =>
    fetch(`${apiUrl}/api/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${jwt}`, ...(body !== undefined && { "content-type": "application/json" }) },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      // The token says who asks. Cookies are not for the API.
      credentials: "omit",
      cache: "no-store",
    }).catch(() => {
      throw new ApiError(0, "The task service cannot be reached. Check your connection, then try again.");
    });

  const first = token ?? (await renew(userId));
  let response = await send(first);
  if (response.status === 401) {
    // Refused requests have done nothing, so each of them may be sent again; once. Another request may have
    // renewed the token meanwhile.
    const second = token !== null && token !== first ? token : await renew(userId);
    response = await send(second);
    if (response.status === 401) {
      leaveForSignIn("expired");
      return never();
    }
  }
  if (!response.ok) throw await failure(response);
  return (response.status === 204 ? undefined : await response.json()) as T;
}

/** `{"detail": "…"}`, or `{"detail": [{"loc": ["body", "title"], "msg": "…"}]}` with 422. */
async function failure(response: Response): Promise<ApiError> {
  const { detail } = (await response.json().catch(() => ({}))) as { detail?: unknown };
  if (Array.isArray(detail)) {
    const fields: FieldErrors = {};
    const others: string[] = [];
    for (const { loc, msg } of detail as { loc?: unknown[]; msg?: string }[]) {
      const field = loc?.[0] === "body" ? loc[1] : undefined;
      if (typeof field === "string") fields[field] ??= msg ?? "This is not right.";
      else others.push(msg ?? "This is not right.");
    }
    return new ApiError(response.status, others.join(" "), fields);
  }
  if (response.status >= 500 || typeof detail !== "string") {
    return new ApiError(response.status, "The task service has a problem just now. Try again in a moment.");
  }
  return new ApiError(response.status, detail);
}

export interface TaskInput {
  title?: string;
  description?: string | null;
}

/** The API for the user that this page was rendered for. */
export function tasksApi(apiUrl: string, userId: string) {
  const call = <T>(method: string, path: string, body?: unknown) => request<T>(apiUrl, userId, method, path, body);
  const at = (id: string) => `/tasks/${encodeURIComponent(id)}`;
  return {
    list: (query: { completed?: boolean | undefined; limit: number; offset: number }) => {
      const words = new URLSearchParams({ limit: `${query.limit}`, offset: `${query.offset}` });
      if (query.completed !== undefined) words.set("completed", `${query.completed}`);
      return call<Task[]>("GET", `/tasks?${words}`);
    },
    create: (task: TaskInput) => call<Task>("POST", "/tasks", task),
    change: (id: string, task: TaskInput) => call<Task>("PATCH", at(id), task),
    complete: (id: string, completed: boolean) => call<Task>("PATCH", `${at(id)}/complete`, { completed }),
    remove: (id: string) => call<void>("DELETE", at(id)),
  };
}
