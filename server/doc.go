// Package server puts the house together: it opens store, journal and sockets by
// the configuration, hands every request to the package that serves its method
// (dispatch.go), turns errors into answers (respond.go), and stops in order.
package server
