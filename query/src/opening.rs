//! Output while models are opened.

use bridgetower::search::OpenEvent;
use bt_cli::{OutputArgs, Progress, Unit};

/// A bar for downloads, and a note about a model other than the expected one.
pub struct Opening<'o> {
    output: &'o OutputArgs,
    bar: Option<Progress>,
}

impl<'o> Opening<'o> {
    pub fn new(output: &'o OutputArgs) -> Self {
        Self { output, bar: None }
    }

    pub fn show(&mut self, event: OpenEvent) {
        match event {
            OpenEvent::Download { file, done, total } => {
                let bar = || self.output.progress(Unit::Bytes);
                self.bar.get_or_insert_with(bar).show(file, done, total);
            }
            OpenEvent::OtherReranker { embedder, reranker } => self.output.warn(format!(
                "{embedder} has no matching head: reranking with {reranker} (--rerank-model chooses another)"
            )),
        }
    }

    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish();
        }
    }
}
