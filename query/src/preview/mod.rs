//! The hits' pictures on the terminal, by kitty's or iTerm2's protocol, as sixels, or as coloured halves of letters,
//! whichever it supports.

mod draw;
mod protocol;
mod terminal;

use std::io::IsTerminal;

use anyhow::ensure;
use bridgetower::processor::Encoded;
use bridgetower::{Error, Photo};

pub use self::protocol::Protocol;
use self::terminal::Screen;
use crate::thumbnail::{fit, resized};

/// Draws pictures on the terminal at stdout.
pub struct Preview {
    protocol: Protocol,
    screen: Screen,
    /// The largest height, pixels.
    height: u32,
}

impl Preview {
    /// Fails if stdout is not a terminal, or one that shows no pictures.
    pub fn new(wanted: Protocol, height: u32) -> anyhow::Result<Self> {
        ensure!(
            std::io::stdout().is_terminal(),
            "no preview: stdout is not a terminal"
        );
        let protocol = match wanted {
            Protocol::Auto => terminal::protocol(),
            wanted => Some(wanted),
        };
        ensure!(
            protocol.is_some(),
            "no preview: the terminal supports neither pictures nor colours (--preview=blocks draws anyway)"
        );
        Ok(Self {
            protocol: protocol.unwrap_or(wanted),
            screen: Screen::of_stdout(),
            height,
        })
    }

    /// Returns a photo in the terminal's protocol, which leaves the cursor on the line below it.
    pub fn of(&self, photo: &Photo) -> Result<Vec<u8>, Error> {
        let photo = Encoded::of(photo)?.decode()?.rgb;
        let Screen { cells, cell } = self.screen;
        // A line stays for the name.
        let lines = cells.1.saturating_sub(2).max(1);
        let room = (cells.0 * cell.0, self.height.min(lines * cell.1));
        let (width, height) = fit(photo.dimensions(), room);
        let mut drawn = match self.protocol {
            Protocol::Kitty => draw::kitty(&resized(&photo, (width, height))),
            Protocol::Iterm2 => draw::iterm2(&resized(&photo, (width, height))),
            Protocol::Sixel => draw::sixel(&resized(&photo, (width, height))),
            Protocol::Auto | Protocol::Blocks => {
                let columns = (width / cell.0).max(1);
                let lines = (height / cell.1).max(1);
                let halves = resized(&photo, (columns, 2 * lines));
                draw::blocks(&halves, terminal::has_true_colour())
            }
        };
        drawn.push(b'\n');
        Ok(drawn)
    }
}
