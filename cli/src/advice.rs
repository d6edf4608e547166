//! One line of advice about an error, in terms of the flags and commands of the programs.

use bridgetower::Error;

use crate::advised::Advised;

/// Returns one line of advice about an error; empty if its message is enough.
pub fn advice(error: &anyhow::Error) -> &'static str {
    let known = |cause: &(dyn std::error::Error + 'static)| {
        let advised = cause.downcast_ref::<Advised>();
        let advised = advised.map(|advised| advised.advice);
        advised.or_else(|| cause.downcast_ref().map(about))
    };
    error.chain().find_map(known).unwrap_or_default()
}

/// Returns the advice about an error of the library: its own where no flag or command helps.
fn about(error: &Error) -> &'static str {
    match error {
        Error::NoModel { .. } => {
            "--model takes a folder with config.json and weights, a hub id such as BridgeTower/bridgetower-large-itm-mlm-itc, or demo, the small model that is built into the program"
        }
        Error::ModelMoved { .. } => {
            "if it was moved, --model takes its new place, and bt-index build --model DIR records it"
        }
        Error::MissingHead { head, .. } if !head.starts_with("contrastive") => {
            "the checkpoint BridgeTower/bridgetower-large-itm-mlm-gaudi has the ITM and MLM heads (--rerank-model for searches, --model elsewhere)"
        }
        Error::Device { .. } => "--device cpu works everywhere",
        Error::EmptyQuery => "describe what the photo shows: bt-query \"a cat by a window\"",
        Error::NoNumber { .. } => {
            "the checkpoint is damaged, or the number format is too narrow: try --precision f32, or download the checkpoint again"
        }
        Error::Changed { .. } => "bt-index build brings the index up to date",
        Error::NoIndex { .. } => {
            "build one first: bt-index build ./photos (--index or BT_INDEX choose another place)"
        }
        Error::OtherModel { .. } => {
            "use --model with that model, --index for a second index, or bt-index build --rebuild"
        }
        Error::IndexFormat { .. } => {
            "update this program, or use --index for a second index, or bt-index build --rebuild"
        }
        Error::Corrupt { .. } => {
            "bt-index verify --repair repairs what it can, and reports what has to be embedded again"
        }
        Error::BeyondRepair { .. } => {
            "bt-index build --rebuild FOLDERS embeds everything again; photos are never changed"
        }
        Error::NoFolder { .. } => {
            "check the spelling, and that the drive is mounted; if it was renamed, bt-index build NEW-NAME moves its photos; nothing was changed"
        }
        Error::NoFolders => "give the folder of the photos: bt-index build ./photos",
        Error::AllLeftOut { .. } => {
            "check its .btignore files and --exclude, and give --hidden if they are hidden; thumbnails and trash are left out too; nothing was changed (bt-index remove takes out a whole folder)"
        }
        Error::Pattern { .. } => {
            "--exclude takes a line of .gitignore syntax, such as 'raw/' or '*.png'; quote it, so that the shell does not expand it"
        }
        Error::NotEmpty { .. } => {
            "give a new folder, or --force to write embeddings.npy, photos.jsonl and index.json there; other files stay"
        }
        Error::Export { .. } => {
            "bt-index import reads what bt-index export writes; export again, or correct what the error names; nothing was imported"
        }
        Error::IndexExists { .. } => {
            "give another place with --index, or move that folder away first"
        }
        Error::Dataset { .. } => {
            "each line is a record such as {\"image\": \"cat.jpg\", \"caption\": \"a cat\"}, or the file is Karpathy's split of Flickr30k or COCO; see bt-query eval --help"
        }
        _ => error.hint(),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn the_advice_names_flags_and_falls_back_on_the_librarys() {
        let empty = Err::<(), _>(Error::EmptyQuery).context("line 1");
        assert!(advice(&empty.unwrap_err()).contains("bt-query \"a cat"));
        let what = "the embedding".to_owned();
        assert!(advice(&Error::NoNumber { what }.into()).contains("--precision f32"));
        let path = "/index".into();
        let unwritten = Error::Unwritten { path };
        let hint = unwritten.hint();
        assert_eq!(advice(&unwritten.into()), hint);
        assert_eq!(advice(&Error::Cancelled.into()), "");
    }
}
