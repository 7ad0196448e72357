//! A producer against scripted brokers.
