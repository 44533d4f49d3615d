"""`python -m app` listens on HOST and PORT."""

import uvicorn

from app.main import app

if __name__ == "__main__":
    settings = app.state.settings
    uvicorn.run(app, host=settings.host, port=settings.port)
