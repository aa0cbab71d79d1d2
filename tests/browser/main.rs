//! Journeys in Chromium, by the protocol of its driver. One binary beside the integration tests.
