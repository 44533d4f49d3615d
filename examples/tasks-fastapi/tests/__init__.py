import os

# What is set around the tests is meant for another app.
for name in ("AUTH_URL", "AUTH_ISSUER", "AUTH_AUDIENCE", "JWT_SECRET", "DATABASE_URL", "FRONTEND_ORIGINS"):
    os.environ.pop(name, None)

# The servers are on this machine, whatever proxy there is.
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"
