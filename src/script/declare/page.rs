//! The Markdown that people read, made of the declarations: the pages of the reference, and the
//! table of src/docs/gpu.md that says where functions compute.

use std::fmt::Write;

use super::declaration::{Declarations, Declared, OnGpu, Row};
use super::gradient::Gradient;

/// A page of the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// Tensors, and the numbers, texts and arrays beside them.
    Tensors,
    /// Models, hooks and files.
    Experiments,
}

impl Page {
    /// Both pages.
    pub const ALL: [Page; 2] = [Page::Tensors, Page::Experiments];

    /// The page's file, from the root of the project.
    pub fn file(self) -> &'static str {
        match self {
            Page::Tensors => "src/script/reference/reference.md",
            Page::Experiments => "src/script/reference/experiments.md",
        }
    }

    fn introduction(self) -> &'static str {
        match self {
            Page::Tensors => {
                "# Tensors in scripts

Every function and operator, with an example that the tests run: the result is what printing the
example's last value shows. The common option may be given bare (`x.mean(1)`), the others in a last
map (`x.mean(#{dim: 1, keepdim: true})`). Where nothing else is said, a name means what it means in
PyTorch, and so does its derivative: `yes` in the last column says that gradients go back through it, `0`
that they are 0, `none` that it is an error to send a tensor through that has a graph of gradients, and `–`
that what it gives is outside of any graph.
"
            }
            Page::Experiments => {
                "# Experiments in scripts

What a script does with models, hooks and files; the tests run every example. `m` is
`model(\"demo:opt\")` and `ids` is `m.encode(\"When Mary and John went to the store\")` in each.
"
            }
        }
    }
}

impl Declarations {
    /// A page of the reference: its introduction, and for each section a table of the rows.
    pub fn page(&self, page: Page) -> String {
        let mut text = page.introduction().to_owned();
        let mut section = None;
        for declared in self.iter().filter(|of| of.page == page && !of.rows.is_empty()) {
            if section != Some(declared.section) {
                let _ = write!(text, "\n## {}\n\n{HEADING}", declared.section);
                section = Some(declared.section);
            }
            declared.rows.iter().for_each(|row| text.push_str(&line(row, declared.gradient)));
        }
        text
    }

    /// The table of src/docs/gpu.md: the functions that compute alike for a tensor on a GPU share a row.
    pub fn gpu_table(&self) -> String {
        let mut places = vec![OnGpu::NATIVE];
        for declared in self.iter() {
            if declared.on_gpu != OnGpu::NO_TENSORS && !places.contains(&declared.on_gpu) {
                places.push(declared.on_gpu);
            }
        }
        let mut text =
            String::from("| operation | where it runs for a tensor on a GPU |\n|---|---|\n");
        for place in places {
            let names = names(self.iter().filter(|declared| declared.on_gpu == place));
            let _ = writeln!(text, "| {names} | {} |", place.0);
        }
        text
    }
}

const HEADING: &str =
    "| name | what it gives | example | result | gradient |\n|---|---|---|---|---|\n";

fn line(row: &Row, gradient: Gradient) -> String {
    let cell = |text: &str| text.replace('|', "\\|");
    let code = |text: &str| match text.contains('`') {
        true => format!("`` {} ``", cell(text)),
        false => format!("`{}`", cell(text)),
    };
    format!(
        "| {} | {} | {} | {} | {} |\n",
        cell(&row.title),
        cell(&row.gives),
        code(&row.example),
        code(&row.result),
        gradient.cell()
    )
}

/// Each name once, as code.
fn names<'d>(declared: impl Iterator<Item = &'d Declared>) -> String {
    let mut names: Vec<String> = Vec::new();
    for declared in declared {
        let name = format!("`{}`", declared.name.replace('|', "\\|"));
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.join(" ")
}
