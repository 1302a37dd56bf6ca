//! `precompute recipe publish RECIPE --to OWNER/REPO`.

use std::io::IsTerminal;
use std::path::Path;

use clap::{Args, ValueHint};
use serde_json::json;

use super::ask::confirm;
use super::print_json;
use crate::checkpoint::Hub;
use crate::cli::options::limits::Limits;
use crate::recipe::check::{Checked, check};
use crate::recipe::{Header, Origin, Recipe, Remote, card};
use crate::script::{Console, Failure, Substitutes};
use crate::{Result, error};

/// Put a recipe on the Hub, with a page made of its header and a picture from a real run
///
/// The recipe is checked first, as `recipe check` does. What is uploaded: the script, the modules
/// beside it that it imports, README.md and a picture. HF_TOKEN must be a token that may write.
#[derive(Args)]
#[command(after_help = "Example:\n  precompute recipe publish lens.rhai --to owner/lenses\n  \
precompute recipe publish lens.rhai --to owner/lenses/lens --dry-run")]
pub struct Publish {
    /// The recipe: a file, or a directory that has one
    #[arg(value_hint = ValueHint::FilePath)]
    recipe: String,

    /// The repository, which is created if it is missing, and a folder in it if it holds several
    /// recipes
    #[arg(long, value_name = "OWNER/REPO[/FOLDER]")]
    to: String,

    /// Make the repository a private one
    #[arg(long)]
    private: bool,

    /// List what would be uploaded, and stop
    #[arg(long)]
    dry_run: bool,

    /// Upload without asking
    #[arg(long)]
    yes: bool,

    /// Print what was uploaded, or would be, as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    limits: Limits,
}

impl Publish {
    pub fn run(self) -> Result<(), Failure> {
        let (recipe, console) = (Recipe::open(&self.recipe, false)?, Console::default());
        let Origin::File(path) = &recipe.origin else {
            return Err(Failure::usage(error!(
                "{} is not a file of yours: publish a recipe by its path",
                self.recipe
            )));
        };
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let remote: Remote = format!("hf:{}/{file}", self.to.trim_end_matches('/'))
            .parse()
            .map_err(Failure::usage)?;
        let checked = check(&recipe, &Substitutes::default(), self.limits.apply())?;
        if !checked.findings.is_empty() {
            console.lines(checked.findings.iter().map(ToString::to_string));
            return Err(
                error!("{} is not as its header says: nothing was uploaded", self.recipe).into()
            );
        }
        let header = recipe.header.as_ref().ok_or_else(|| error!("{} has no header", recipe.id))?;
        let files = files(path, header, &remote, &checked)?;
        let listed: Vec<_> =
            files.iter().map(|(path, bytes)| json!({"path": path, "bytes": bytes.len()})).collect();
        if !self.json {
            console.lines(
                files.iter().map(|(path, bytes)| format!("  {path}  {} bytes", bytes.len())),
            );
        }
        if self.dry_run {
            if self.json {
                print_json(
                    &json!({"reference": remote.to_string(), "commit": null, "files": listed}),
                )?;
            }
            return console.check().map_err(Failure::from);
        }
        let hub = Hub::default();
        let page = beside(&remote.path, "README.md");
        if hub
            .read_text(&remote.repository, &page)?
            .is_some_and(|text| !text.contains(&card::mark(&recipe.name())))
        {
            let error = error!(
                "{} has a {page} that is not this recipe's, and it would be lost",
                remote.repository
            );
            let folder = format!(
                "give the recipe a folder of its own: --to {}/{}",
                remote.repository,
                recipe.name()
            );
            return Err(Failure::usage(error.help(folder)));
        }
        if !self.yes {
            let help = "--yes uploads without asking, --dry-run says what would be";
            if !std::io::stdin().is_terminal() {
                return Err(Failure::usage(error!("there is no terminal to ask at").help(help)));
            }
            if !confirm(&format!("Upload these to {}?", remote.repository)) {
                return Err(Failure::usage(error!("nothing was uploaded")));
            }
        }
        let version =
            header.version.as_ref().map(|version| version.get_ref().as_str()).unwrap_or_default();
        let message = format!("{} {version}", recipe.name());
        let commit = hub.commit(&remote.repository, files, &message, self.private)?;
        match self.json {
            true => print_json(
                &json!({"reference": remote.to_string(), "commit": commit, "files": listed}),
            )?,
            false => console.line(&format!("published: precompute run {remote}@{commit}")),
        }
        console.check().map_err(Failure::from)
    }
}

/// The files to upload, as pairs of a path in the repository and contents.
fn files(
    path: &Path,
    header: &Header,
    remote: &Remote,
    checked: &Checked,
) -> Result<Vec<(String, Vec<u8>)>> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut files = Vec::new();
    for (id, text) in checked.sources.iter().filter(|(id, _)| !id.starts_with("precompute:")) {
        let inside = Path::new(id)
            .strip_prefix(folder)
            .map_err(|_| error!("{id} is not below {}", folder.display()))?;
        let parts: Vec<_> = inside.iter().map(|part| part.to_string_lossy()).collect();
        files.push((beside(&remote.path, &parts.join("/")), text.clone().into_bytes()));
    }
    let drawn = checked.trials.iter().find_map(|trial| {
        let name = header.picture(trial.files.iter().map(String::as_str))?;
        std::fs::read(trial.out.path().join(name)).ok()
    });
    let stem = remote.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rhai");
    let picture = drawn.is_some().then(|| format!("{stem}.svg"));
    let page = card::page(header, &remote.to_string(), picture.as_deref());
    files.extend(picture.zip(drawn).map(|(name, bytes)| (beside(&remote.path, &name), bytes)));
    files.push((beside(&remote.path, "README.md"), page.into_bytes()));
    Ok(files)
}

/// `name` in the directory of `path`.
fn beside(path: &str, name: &str) -> String {
    match path.rsplit_once('/') {
        Some((folder, _)) => format!("{folder}/{name}"),
        None => name.to_owned(),
    }
}
