//! What most tests send with, and how they read.

use simurgh::testing::Client;
pub(crate) use simurgh::testing::raw::{Answer, Frame, Raw, UPGRADE, get, header, masked, upgrade};

/// The very text of a client's next message.
pub(crate) fn next_text(client: &mut Client) -> String {
    client.next_frame().unwrap().into_text().unwrap().to_string()
}
