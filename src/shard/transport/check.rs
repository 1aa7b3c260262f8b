//! What the transports promise, asserted.

use super::table::{Stage, Transport};
use crate::message::LineId;
use crate::shard::channels::Hub;
use crate::shard::lines::Place;

impl Transport {
    /// Asserts what is promised.
    pub(crate) fn check(&self, hub: &Hub) {
        let (mut arriving, mut leaving, mut heads) = (0, 0, 0);
        for (line, place) in hub.lines.places() {
            match place {
                Place::Arriving(place) => {
                    let its = self.arriving.get(place as usize).expect("it stands there");
                    assert_eq!(LineId::from(its.id), line);
                    arriving += 1;
                    if let Stage::Head(mark) = its.stage {
                        assert!(self.unfinished.has_head(mark, its.id), "{line:?} stands in line");
                        heads += 1;
                    }
                }
                Place::Leaving(place) => {
                    let its = self.leaving.get(place as usize).expect("it stands there");
                    assert_eq!(LineId::from(its.id), line);
                    leaving += 1;
                }
                Place::Open(..) => {}
                Place::Empty => panic!("{line:?} has no place"),
            }
        }
        assert_eq!((arriving, leaving), (self.arriving.len(), self.leaving.len()), "places");
        assert_eq!(self.admissions.len(), hub.lines.len(), "admitted and refused");
        let refused = self.leaving.iter().filter(|(_, leaving)| leaving.was_refused).count();
        assert_eq!(self.admissions.refused, refused, "refused");
        self.unfinished.check(heads);
        self.waiting.check();
    }
}
