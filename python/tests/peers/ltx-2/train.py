"""The script. The config is an attribute instead of a file."""

from __future__ import annotations

from ltx_trainer.trainer import LtxvTrainer


def app():
    app.seen = LtxvTrainer(app.config).train()
