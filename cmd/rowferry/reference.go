package main

import "github.com/spf13/cobra"

func (a *app) referenceCommand() *cobra.Command {
	return &cobra.Command{Use: "reference", Hidden: true}
}
