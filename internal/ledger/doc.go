// Package ledger is the spend book: one row for every attempt that was opened at an upstream, whatever became of it.
//
// It has two layers. The journal (journal-<port>, one per process, locked by it) is a file of checksummed records that is only
// appended to: an intent before the first byte goes upstream, a settle after the outcome is known. A written record is in the
// kernel and survives kill -9. The book (ledger.db, SQLite) is filled from the journals by one goroutine in batches and is
// shared by all gateways of a state directory; it can always be brought up to date from the journals, any number of times,
// because rows are known by their attempt's id. Nothing on a request's path waits for SQLite.
//
// What a call costs is package pricing's; this package only keeps what it is told. Read ledger.go for what a gateway does,
// record.go for the bytes, journal.go for the file, recover.go for what happens after a crash, book.go and report.go for the
// tables and the sums.
package ledger
