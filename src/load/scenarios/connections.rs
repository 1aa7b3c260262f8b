//! Connections: clients that come to stay.

use std::io;
use std::net::SocketAddr;

use rustix::event::epoll;

use crate::load::client::{Client, Parting, upgrade_request};
use crate::load::stopwatch::Stopwatch;
use crate::load::{Error, Load, Report, event_data};

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
        let request = upgrade_request(server, path);
        let mut stopwatch = Stopwatch::start();
        let mut report = Report::new();
        let mut under_way = 0;
        while under_way > 0 || self.clients.len() < wanted {
            while under_way < self.options.at_once && self.clients.len() < wanted {
                let index = self.clients.len();
                let client = Client::connect(self.source_of(index), server, Parting::Reset)?;
                let socket = client.socket().expect("the client has just been made");
                let interest = epoll::EventFlags::IN | epoll::EventFlags::OUT;
                epoll::add(&self.epoll, socket, event_data(index), interest)
                    .map_err(io::Error::from)?;
                self.clients.push(client);
                report.sent += 1;
                under_way += 1;
            }
            let events = self.wait(Some(self.options.patience))?;
            if events.is_empty() {
                report.errors.unanswered += under_way as u64;
                report.errors.note(|| "no answer to a connection or an upgrade".into());
                break;
            }
            for event in &events {
                let index = event.data.u64() as usize;
                let client = &mut self.clients[index];
                if client.is_open() {
                    // Nobody has asked it anything yet, so it has ended, or the server raves.
                    client.give_up();
                    report.errors.closed += 1;
                    report.errors.note(|| "a connection ended before it was used".into());
                    continue;
                }
                match client.proceed(request.as_bytes(), &mut self.buffer) {
                    Ok(true) => {
                        under_way -= 1;
                        report.received += 1;
                        report.record(client.asked.elapsed());
                    }
                    Ok(false) => {
                        // The request has gone out: from now on only what comes in matters.
                        let socket = client.socket().expect("a client that goes on has one");
                        let interest = epoll::EventFlags::IN;
                        epoll::modify(&self.epoll, socket, event_data(index), interest)
                            .map_err(io::Error::from)?;
                    }
                    Err(error) => {
                        client.give_up();
                        under_way -= 1;
                        report.errors.refused += 1;
                        report.errors.note(|| error.to_string());
                    }
                }
            }
            self.events = events;
        }
        stopwatch.stop(&mut report);
        Ok(report)
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
