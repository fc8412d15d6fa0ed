package config

//go:generate go test -run ^TestGenerated$ -update .
