//! A stand-in for the server, in the tests of the client: it plays a script to one connection.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;
use tungstenite::{Message as WsMessage, WebSocket};

/// A server for one connection, that does what it is told to.
pub(super) fn serve(
    script: impl FnOnce(&mut WebSocket<TcpStream>) + Send + 'static,
) -> (SocketAddr, JoinHandle<()>) {
    serve_raw(|stream| script(&mut tungstenite::accept(stream).unwrap()))
}

/// The same before any handshake.
pub(super) fn serve_raw(
    script: impl FnOnce(TcpStream) + Send + 'static,
) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let serve = move || {
        let stream = listener.accept().unwrap().0;
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        script(stream);
    };
    (addr, thread::spawn(serve))
}

/// The next message from the client.
pub(super) fn read(server: &mut WebSocket<TcpStream>) -> Value {
    serde_json::from_str(server.read().unwrap().to_text().unwrap()).unwrap()
}

pub(super) fn write(server: &mut WebSocket<TcpStream>, text: &str) {
    server.send(WsMessage::text(text)).unwrap();
}
