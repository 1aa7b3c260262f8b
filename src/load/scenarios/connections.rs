//! Connections: clients that come to stay.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Scenario;
use crate::load::client::{Client, Parting, upgrade_request};
use crate::load::poller::Interest;
use crate::load::run::Run;
use crate::load::{Error, Load, Options, Report};

impl Load {
    /// Connects further clients and upgrades them to WebSockets at `path`, which names serializer
    /// V2.
    ///
    /// The latencies reach from the first SYN to the 101.
    ///
    /// # Errors
    ///
    /// There may not be so many. A server that refuses is in the report.
    pub fn connect(
        &mut self,
        server: SocketAddr,
        path: &str,
        count: usize,
    ) -> Result<Report, Error> {
        let (wanted, max) = (self.clients.len() + count, Self::max_connections());
        if wanted > max {
            return Err(Error::TooMany { wanted, max });
        }
        let run = Run::begin(&self.poller, &self.options);
        let Self { options, clients, .. } = self;
        let request = upgrade_request(server, path);
        Ok(run.drive(Connections { options, server, request, clients, wanted })?)
    }
}

/// A few at a time.
struct Connections<'a> {
    options: &'a Options,
    server: SocketAddr,
    request: String,
    clients: &'a mut Vec<Client>,
    /// How many clients there are to be.
    wanted: usize,
}

impl Scenario for Connections<'_> {
    fn send_due(&mut self, run: &mut Run<'_>) -> io::Result<Duration> {
        while run.owed() < self.options.at_once as u64 && self.clients.len() < self.wanted {
            let number = self.clients.len();
            let source = self.options.source_of(number);
            let client = Client::connect(source, self.server, Parting::Reset)?;
            let socket = client.socket().expect("the client has just been made");
            run.poller.add(socket, number, Interest::IN | Interest::OUT)?;
            self.clients.push(client);
            run.ask(1, Instant::now());
            run.expect(1);
        }
        Ok(run.patience)
    }

    fn handle_ready(&mut self, run: &mut Run<'_>, number: usize) -> io::Result<()> {
        let client = &mut self.clients[number];
        let errors = &mut run.report.errors;
        if client.is_open() {
            // Nobody has asked it anything yet, so it has ended, or the server raves.
            client.give_up();
            errors.closed += 1;
            errors.note(|| "a connection ended before it was used".into());
            return Ok(());
        }
        match client.proceed(self.request.as_bytes(), &mut run.buffer) {
            Ok(true) => {
                run.report.record(client.asked.elapsed());
                run.settle(1);
            }
            Ok(false) => {
                // The request has gone out: from now on only what comes in matters.
                let socket = client.socket().expect("a client that goes on has one");
                run.poller.change(socket, number, Interest::IN)?;
            }
            Err(error) => {
                client.give_up();
                errors.refused += 1;
                errors.note(|| error.to_string());
                run.write_off(1);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;
    use crate::load::Options;
    use crate::load::test_server::PATH;

    #[test]
    fn a_refused_upgrade_is_counted_with_its_status() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            use std::io::{Read, Write};
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 1_024]);
                stream.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").unwrap();
            }
        });
        let mut load = Load::new(Options::default()).unwrap();
        let report = load.connect(address, PATH, 5).unwrap();
        assert_eq!((report.sent, report.received, report.errors.refused), (5, 0, 5));
        assert_eq!(report.errors.first.unwrap(), "answered by HTTP/1.1 403 Forbidden");
    }

    #[test]
    fn a_server_that_is_not_there_is_counted() {
        // Bound and not listening: nobody else can have the port meanwhile.
        let nobody =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        nobody.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = nobody.local_addr().unwrap().as_socket().unwrap();
        let mut load = Load::new(Options::default()).unwrap();
        let report = load.connect(address, PATH, 3).unwrap();
        assert_eq!((report.received, report.errors.refused), (0, 3));
    }

    #[test]
    fn more_clients_than_descriptors_are_refused_beforehand() {
        let mut load = Load::new(Options::default()).unwrap();
        let max = Load::max_connections();
        let wanted = max + 1;
        let refused = load.connect(([127, 0, 0, 1], 1).into(), PATH, wanted).unwrap_err();
        assert!(matches!(refused, Error::TooMany { wanted: w, max: m } if (w, m) == (wanted, max)));
        assert!(load.clients.is_empty());
    }
}
