//! The pages that this server has of its own: a frame, which the script fills.

use axum::response::{Html as HtmlAnswer, IntoResponse, Response};
use serde_json::Value as Json;

use crate::output::page::html::Html;
use crate::output::page::{assets, data};

/// The page called `title` that does `what`: `live` or `view`.
pub fn shell(what: &str, title: &str, json: &Json) -> Response {
    let mut html = Html::default();
    html.markup("<!doctype html>\n<html lang=\"en\" data-does=\"")
        .text(what)
        .markup("\">\n<head>\n");
    html.markup("<meta charset=\"utf-8\">\n");
    html.markup("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    html.markup("<meta name=\"color-scheme\" content=\"light dark\">\n");
    html.markup("<link rel=\"icon\" href=\"data:,\">\n");
    html.element("title", title);
    html.markup("<style>").markup(assets::STYLE).markup("</style>\n</head>\n<body>\n");
    html.markup(
        "<section id=\"controls\" aria-label=\"Controls\"></section>\n<div id=\"page\"></div>\n",
    );
    html.markup("<p id=\"said\" role=\"status\" aria-live=\"polite\"></p>\n");
    html.markup("<script type=\"application/json\" id=\"").markup(data::ID).markup("\">");
    html.markup(&data::in_element(json)).markup("</script>\n<script>");
    html.markup(assets::SCRIPT).markup("</script>\n</body>\n</html>\n");
    HtmlAnswer(html.into_string()).into_response()
}
