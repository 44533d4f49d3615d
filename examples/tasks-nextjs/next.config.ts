import type { NextConfig } from "next";

const config: NextConfig = {
  poweredByHeader: false,
  // The repository has other lock files above this folder; this one is the app's root.
  turbopack: { root: import.meta.dirname },
  // The content security policy is not here but in proxy.ts: it has a nonce, which is new for every page.
  headers: async () => [
    {
      source: "/:path*",
      headers: [
        { key: "X-Content-Type-Options", value: "nosniff" },
        { key: "X-Frame-Options", value: "DENY" },
        { key: "Referrer-Policy", value: "same-origin" },
        { key: "Cross-Origin-Opener-Policy", value: "same-origin" },
        { key: "Permissions-Policy", value: "camera=(), geolocation=(), microphone=(), payment=(), usb=()" },
      ],
    },
  ],
};

export default config;
