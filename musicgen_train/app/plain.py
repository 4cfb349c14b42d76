"""HTML that is only shown: it starts no scripts, and style.css alone says how it looks."""

import gradio as gr


def plain(value: str = "", elem_id: str | None = None) -> gr.HTML:
    """A piece of the page for what `markup` makes."""
    return gr.HTML(
        value, elem_id=elem_id, elem_classes="plain", js_on_load=None, apply_default_css=False
    )
