import { jwtClient } from "better-auth/client/plugins";
import { createAuthClient } from "better-auth/react";

/** Better Auth's own client. Without a `baseURL` it asks `/api/auth` of the page's origin: app/api/auth/[...all]. */
export const authClient = createAuthClient({ plugins: [jwtClient()] });
