//! The page of one run.

use std::collections::BTreeMap;

use super::html::Html;
use super::{assets, data, markdown};
use crate::output::format::table::cell;
use crate::output::items::{Item, Items};
use crate::output::record::{Model, Record};

/// The page of a run that recorded `record` and has shown `items`.
pub fn report(record: &Record, items: &Items) -> String {
    let name = name(&record.script.path);
    let mut html = Html::default();
    html.markup("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    html.markup("<meta http-equiv=\"Content-Security-Policy\" content=\"");
    html.text(assets::policy(false)).markup("\">\n");
    html.markup("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    html.markup("<meta name=\"color-scheme\" content=\"light dark\">\n");
    html.markup("<meta name=\"referrer\" content=\"no-referrer\">\n");
    html.markup("<link rel=\"icon\" href=\"data:,\">\n");
    html.element("title", format_args!("{name} · Precompute"));
    html.markup("<style>").markup(assets::STYLE).markup("</style>\n</head>\n<body>\n");
    header(&mut html, record, name);
    html.markup("<main id=\"items\">\n");
    items.iter().enumerate().for_each(|(i, item)| self::item(&mut html, i, item));
    html.markup("</main>\n<section id=\"run\" aria-labelledby=\"run-title\">\n");
    html.markup("<h2 id=\"run-title\">This run</h2>\n");
    facts(&mut html, record);
    files(&mut html, record);
    script(&mut html, record);
    html.markup("</section>\n<p id=\"said\" role=\"status\" aria-live=\"polite\"></p>\n");
    html.markup("<script type=\"application/json\" id=\"").markup(data::ID).markup("\">");
    html.markup(&data::in_element(&data::json(items))).markup("</script>\n");
    html.markup("<script>").markup(assets::SCRIPT).markup("</script>\n</body>\n</html>\n");
    html.into_string()
}

/// What a script is called: its file without the ending.
fn name(path: &str) -> &str {
    let file = path.rsplit(['/', '\\', ':']).next().unwrap_or(path);
    file.strip_suffix(".rhai").unwrap_or(file)
}

/// The summary in a script's header.
fn summary(text: &str) -> Option<String> {
    let header = text.lines().map_while(|line| line.strip_prefix("//!"));
    let value = header.map(str::trim).find_map(|line| line.strip_prefix("summary"));
    // A TOML string in double quotes, which reads as JSON.
    serde_json::from_str(value?.trim_start().strip_prefix('=')?.trim()).ok()
}

fn header(html: &mut Html, record: &Record, name: &str) {
    html.markup("<header>\n").element("h1", name);
    if let Some(summary) = summary(&record.script.text) {
        html.element("p class=\"summary\"", summary);
    }
    html.markup("<p class=\"facts\">");
    let models: Vec<&str> = record.models.iter().map(|model| model.id.as_str()).collect();
    if !models.is_empty() {
        html.text(models.join(", ")).markup(" · ");
    }
    let (day, rest) = record.started.split_once('T').unwrap_or((&record.started, ""));
    html.text(format_args!("{day} {} · {}", rest.get(..5).unwrap_or(""), taken(record.seconds)));
    html.markup("</p>\n");
    if !record.is_done() {
        html.markup("<pre class=\"failed\" role=\"alert\">")
            .text(&record.outcome)
            .markup("</pre>\n");
    }
    html.markup(
        "<noscript><p>Pictures and tables are drawn by a script, and this browser runs none: \
                 the files below have them.</p></noscript>\n</header>\n",
    );
}

fn item(html: &mut Html, i: usize, item: &Item) {
    match item {
        Item::Note(text) => {
            html.markup("<section class=\"note\">\n").markup(&markdown::html(text));
            html.markup("</section>\n");
        }
        Item::Picture { file, picture } => {
            html.markup(&format!("<figure class=\"picture\" data-item=\"{i}\">\n<figcaption>"));
            html.text(match picture.title() {
                "" => file,
                title => title,
            });
            html.markup("</figcaption>\n</figure>\n");
        }
        Item::Table(_) => {
            html.markup(&format!("<section class=\"table\" data-item=\"{i}\"></section>\n"));
        }
        Item::LeftOut(name) => {
            html.element(
                "p class=\"left-out\"",
                format_args!("{name} is too large for this page, which has much in it already."),
            );
        }
    }
}

fn taken(seconds: f64) -> String {
    match seconds {
        s if s >= 60.0 => format!("{:.0} min {:.0} s", (s / 60.0).floor(), s % 60.0),
        s if s >= 1.0 => format!("{s:.1} s"),
        s => format!("{:.0} ms", s * 1e3),
    }
}

fn facts(html: &mut Html, record: &Record) {
    if !record.parameters.is_empty() {
        html.element("h3", "Parameters").markup("<dl class=\"parameters\">\n");
        for (name, value) in &record.parameters {
            html.element("dt", name).element("dd", cell(value));
        }
        html.markup("</dl>\n");
    }
    html.element("h3", "How it ran").markup("<dl>\n");
    for model in &record.models {
        html.element("dt", "Model").element("dd", described(model));
    }
    for adapter in &record.adapters {
        let at =
            adapter.revision.as_ref().map(|commit| format!(" at {commit}")).unwrap_or_default();
        html.element("dt", "Adapter");
        html.element("dd", format_args!("{}{at} on {}", adapter.id, adapter.model));
    }
    for data in &record.data {
        html.element("dt", "Data").element("dd", format_args!("{} at {}", data.id, data.revision));
    }
    html.element("dt", "Seed").element("dd", record.first_seed);
    let engine = record.engine.as_ref().map(|name| format!(", {name}")).unwrap_or_default();
    let versions = &record.versions;
    html.element("dt", "Engine").element(
        "dd",
        format_args!(
            "Precompute {}, candle {}, Rhai {}{engine}",
            versions.precompute, versions.candle, versions.rhai
        ),
    );
    html.element("dt", "Started").element("dd", &record.started);
    html.element("dt", "Took").element("dd", taken(record.seconds));
    html.markup("</dl>\n").element("h3", "Run it again");
    html.markup("<pre class=\"command\" tabindex=\"0\"><code>").text(command(record));
    html.markup(
        "</code></pre>\n<p>or, with the same commits and its values compared, beside this \
                 page:</p>\n<pre class=\"command\" tabindex=\"0\"><code>precompute rerun run.json\
                 </code></pre>\n",
    );
}

fn described(model: &Model) -> String {
    let commit = model.revision.as_ref().map(|commit| format!(" at {commit}")).unwrap_or_default();
    format!("{}{commit}, {} on {}", model.id, model.dtype, model.device)
}

/// The command that starts such a run.
fn command(record: &Record) -> String {
    let mut words = vec!["precompute".to_owned(), "run".to_owned()];
    words.push(record.recipe.as_ref().map_or(&record.script.path, |it| &it.reference).clone());
    let set: &BTreeMap<String, String> = &record.command.set;
    words.extend(set.iter().flat_map(|(name, value)| ["--set".into(), format!("{name}={value}")]));
    let models = record.command.model.iter().flat_map(|models| models.lines());
    words.extend(models.flat_map(|model| ["--model".into(), model.to_owned()]));
    for (option, value) in
        [("--device", &record.command.device), ("--dtype", &record.command.dtype)]
    {
        words.extend(value.iter().flat_map(|value| [option.to_owned(), value.clone()]));
    }
    words.extend(["--seed".into(), record.first_seed.to_string()]);
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

/// A word of a command as a shell reads it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,@+%".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

fn files(html: &mut Html, record: &Record) {
    if record.files.is_empty() {
        return;
    }
    html.element("h3", "Files").markup("<ul class=\"files\">\n");
    for file in &record.files {
        html.markup("<li>").file(&file.name).markup("</li>\n");
    }
    html.markup("</ul>\n");
}

fn script(html: &mut Html, record: &Record) {
    for (i, source) in std::iter::once(&record.script).chain(&record.imports).enumerate() {
        html.markup(if i == 0 { "<details open>\n" } else { "<details>\n" });
        html.element("summary", format_args!("Script {}", source.path));
        html.markup("<pre class=\"script\" tabindex=\"0\"><code>").text(&source.text);
        html.markup("</code></pre>\n</details>\n");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value as Json;

    use super::*;
    use crate::output::format::table::Table;
    use crate::output::picture::{LinePlot, Picture, Series, Text};
    use crate::output::record::{Command, DONE, Saved, ScriptText, Versions};

    const ATTACKS: [&str; 5] = [
        "</script><script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "\"><svg onload=alert(1)>",
        "<!--<script>",
        "</pre></code></title></style><script>alert(1)</script>",
    ];

    fn record(text: &str) -> Record {
        Record {
            script: ScriptText::new(&format!("dir/{text}.rhai"), text),
            recipe: None,
            imports: vec![ScriptText::new(text, text)],
            parameters: BTreeMap::from([(text.to_owned(), Json::from(text))]),
            command: Command {
                set: BTreeMap::from([(text.to_owned(), text.to_owned())]),
                model: Some(text.into()),
                ..Command::default()
            },
            models: vec![Model {
                id: text.into(),
                asked: None,
                revision: Some(text.into()),
                device: text.into(),
                dtype: text.into(),
            }],
            adapters: vec![],
            data: vec![],
            first_seed: 7,
            seed: 7,
            versions: Versions::CURRENT,
            engine: Some(text.into()),
            started: "2026-11-30T10:00:00+00:00".into(),
            seconds: 61.0,
            outcome: text.into(),
            files: vec![Saved { name: text.into(), sha256: String::new() }],
        }
    }

    /// The page has the elements of this program alone, whatever the texts are.
    #[test]
    fn texts_of_a_run_are_no_markup() {
        for attack in ATTACKS {
            let mut items = Items::default();
            items.push(Item::Note(attack.into()));
            items.push(Item::Picture {
                file: attack.into(),
                picture: Picture::Text(Text {
                    title: attack.into(),
                    tokens: vec![attack.into()],
                    values: vec![vec![1.0]],
                    rows: vec![attack.into()],
                }),
            });
            items.push(Item::Picture {
                file: attack.into(),
                picture: Picture::Line(LinePlot {
                    series: vec![Series { label: attack.into(), y: vec![f64::NAN] }],
                    ..LinePlot::default()
                }),
            });
            let rows = vec![vec![Json::from(attack)]];
            items.push(Item::Table(Table { columns: vec![attack.into()], rows }));
            let page = report(&record(attack), &items);
            let without = page.replace(assets::SCRIPT, "").replace(assets::STYLE, "");
            assert_eq!(without.matches("<script").count(), 2, "{without}");
            assert_eq!(without.matches("</script").count(), 2);
            for tag in ["<img", "<svg", "<!--", "</title></style>"] {
                assert!(!without.contains(tag), "{tag} of {attack} in {without}");
            }
        }
    }

    #[test]
    fn the_page_says_what_the_record_says() {
        let mut record = record("it's");
        record.script =
            ScriptText::new("a/lens.rhai", "//! summary = \"A \\\"lens\\\"\"\nlet x = 1;");
        record.outcome = DONE.into();
        let page = report(&record, &Items::default());
        for part in [
            "<h1>lens</h1>",
            "A &quot;lens&quot;",
            "1 min 1 s",
            "let x = 1;",
            "precompute run a/lens.rhai --set &#39;it&#39;\\&#39;&#39;s=it",
            "--seed 7",
            "href=\"./it%27s\"",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
        assert!(!page.contains("class=\"failed\""));
        let own = page.len() - assets::SCRIPT.len() - assets::STYLE.len();
        assert!(own < 6_000, "{own}");
    }
}
