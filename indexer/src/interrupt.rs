//! Long work with a bar, which Ctrl-C ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use bt_cli::{OutputArgs, Progress, Unit, tell};

/// Does `work` with a bar on stderr, until it ends or sees that Ctrl-C was pressed.
pub fn with_bar<T>(
    output: &OutputArgs,
    unit: Unit,
    work: impl FnOnce(&AtomicBool, &Progress) -> T,
) -> anyhow::Result<T> {
    let cancel = cancel_on_interrupt()?;
    let bar = output.progress(unit);
    let outcome = work(&cancel, &bar);
    bar.finish();
    Ok(outcome)
}

/// Makes Ctrl-C stop the build after a commit; a second one ends the process at once, which is safe too.
pub fn cancel_on_interrupt() -> anyhow::Result<Arc<AtomicBool>> {
    on_interrupt(|| {})
}

/// The same, and calls `stopping` then.
pub fn on_interrupt(stopping: impl Fn() + Send + 'static) -> anyhow::Result<Arc<AtomicBool>> {
    let cancel = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&cancel);
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        // The terminal's ^C stands in a line of its own.
        tell("");
        tell("stopping after this batch; Ctrl-C again to stop at once");
        stopping();
    })
    .context("cannot listen for Ctrl-C")?;
    Ok(cancel)
}
