package main

import "github.com/rowferry/rowferry/replicator/config"

var comments = config.Comments{}
