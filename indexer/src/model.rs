//! `bt-index model`: makes and removes packed weights.

use std::fs;

use anyhow::Context;
use bridgetower::model::packed_weights_root;
use bt_cli::DONE;
use indicatif::HumanBytes;

use crate::args::{ModelCommand, ModelCommandArgs, Program};

pub fn run(program: &Program, args: &ModelCommandArgs) -> anyhow::Result<u8> {
    let said = match args.command {
        ModelCommand::Prepare => {
            let engine = args.model.load_for(&program.index, &program.output)?;
            match engine.prepare()? {
                Some((dir, bytes)) => format!("{} in {}", HumanBytes(bytes), dir.display()),
                None => {
                    "nothing to do: weights are packed only for CPUs with AVX2 or AVX-512".into()
                }
            }
        }
        ModelCommand::Clear => match packed_weights_root().filter(|root| root.exists()) {
            Some(root) => {
                fs::remove_dir_all(&root).with_context(|| root.display().to_string())?;
                format!("removed {}", root.display())
            }
            None => "there are no packed weights".into(),
        },
    };
    program.output.say(said);
    Ok(DONE)
}
