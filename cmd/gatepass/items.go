package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	v2 "github.com/gatepass/gatepass/gateway/v2"
)

// newItemCommands are the commands about static secrets.
func newItemCommands() []*cobra.Command {
	return []*cobra.Command{
		newCreateSecret(), newUpdateSecretValue(), newGetSecretValue(),
		newDescribeItem(), newListItems(), newUpdateItem(), newDeleteItem(),
	}
}

// addValue adds the two flags of a secret's value.
func addValue(c *call, value *text, to *string) {
	value.exact = true
	value.add(c.Flags(), "value", "the value; others on this machine can see it, so prefer the file")
	c.file(value, to, true)
}

func needValue(value *text) error {
	if !value.given() {
		return usageError{errors.New("--value-file must be set, or --value")}
	}
	return nil
}

func newCreateSecret() *cobra.Command {
	var q v2.CreateSecret
	var value text
	c := newCall("create-secret", "Create a static secret", `  gatepass create-secret -n /demo/app/db-password --value-file password.txt --tag demo

  # a file's newline at the end is part of the value; this has none
  printf %s "$PASSWORD" | gatepass create-secret -n /demo/app/db-password --value-file -`)
	c.Flags().StringVarP(&q.Name, "name", "n", "", "name of the item, a path")
	c.Flags().StringVar(&q.Description, "description", "", "what it is for")
	mayBeEmpty(c.Flags(), "description")
	c.Flags().VarP(listFlag{to: (*[]string)(&q.Tags)}, "tag", "t", "tag (repeatable)")
	c.prepare = func(*input) error { return needValue(&value) }
	addValue(c, &value, &q.Value)
	c.need("name")
	handle(c, "create-secret", &q, &q.Credentials, sentence[v2.Named]("Secret %s was created.", &q.Name))
	return c.Command
}

func newUpdateSecretValue() *cobra.Command {
	var q v2.UpdateSecretValue
	var value text
	c := newCall("update-secret-val", "Give a static secret a new value; older versions are kept", "  gatepass update-secret-val -n /demo/app/db-password --value-file password.txt")
	c.Flags().StringVarP(&q.Name, "name", "n", "", "name of the item")
	c.Flags().Var(intFlag{&q.LastVersion}, "last-version", "change nothing unless this is the latest version")
	c.prepare = func(*input) error { return needValue(&value) }
	addValue(c, &value, &q.Value)
	c.need("name")
	handle(c, "update-secret-val", &q, &q.Credentials, func(w io.Writer, a *v2.UpdatedSecretValue) error {
		_, err := fmt.Fprintf(w, "Secret %s has version %d.\n", cell(a.Name), a.Version)
		return err
	})
	return c.Command
}

func newGetSecretValue() *cobra.Command {
	var q v2.GetSecretValue
	c := newCall("get-secret-value", "Print values of static secrets", `  # one value, as it is, and a newline
  gatepass get-secret-value -n /demo/app/db-password

  # several, or the last three versions: JSON
  gatepass get-secret-value -n /demo/app/db-password -n /demo/app/db-user
  gatepass get-secret-value -n /demo/app/db-password --version -3`)
	c.Long = `Print the value of a secret, or a JSON object with the values of several. A
version that is negative gives the last versions, as JSON.`
	c.Flags().VarP(listFlag{to: (*[]string)(&q.Names), whole: true}, "name", "n", "name of an item (repeatable)")
	c.Flags().Var(intFlag{&q.Version}, "version", "version; 0 for the latest, -N for the last N")
	c.need("name")
	handle(c, "get-secret-value", &q, &q.Credentials, func(w io.Writer, a *map[string]json.RawMessage) error {
		var value string
		if len(q.Names) != 1 || json.Unmarshal((*a)[q.Names[0]], &value) != nil {
			return printJSONValue(w, a)
		}
		_, err := fmt.Fprintln(w, value)
		return err
	})
	return c.Command
}

func newDescribeItem() *cobra.Command {
	var q v2.DescribeItem
	c := newCall("describe-item", "Show an item without its value", "  gatepass describe-item -n /demo/app/db-password --show-versions")
	c.Flags().StringVarP(&q.Name, "name", "n", "", "name of the item")
	addBool(c.Flags(), &q.ShowVersions, "show-versions", "show its versions, too")
	c.need("name")
	handle(c, "describe-item", &q, &q.Credentials, func(w io.Writer, i *v2.Item) error {
		properties := []property{
			{"Name", i.Name},
			{"Type", i.Type},
			{"Description", i.Description},
			{"Tags", list(i.Tags)},
			{"Latest version", strconv.Itoa(i.LastVersion)},
			{"Created", moment(i.Created)},
			{"Changed", moment(i.Modified)},
			{"From the configuration file", yes(i.FromFile)},
		}
		for _, v := range i.Versions {
			properties = append(properties, property{"Version " + strconv.Itoa(v.Version), strings.TrimSpace(v.State + " " + moment(v.Created))})
		}
		return describe(w, properties...)
	})
	return c.Command
}

func newListItems() *cobra.Command {
	var q v2.ListItems
	c := newCall("list-items", "List items that the session may list", "  gatepass list-items --path /demo --tag demo")
	f := c.Flags()
	f.StringVar(&q.Path, "path", "", "folder to list (default everything)")
	addBool(f, &q.CurrentFolder, "current-folder", "leave folders below it out")
	f.StringVar(&q.Tag, "tag", "", "tag that the items must have")
	addList(f, &q.Type, "type", "types that are wanted; static-secret is the only one there is")
	addBool(f, &q.MinimalView, "minimal-view", "leave descriptions, tags and dates out")
	addPaging(c, &q.Paging)
	completeWith(c.Command, "type", "static-secret")
	handle(c, "list-items", &q, &q.Credentials, func(w io.Writer, a *v2.ItemList) error {
		rows := make([][]string, 0, len(a.Folders)+len(a.Items))
		for _, folder := range a.Folders {
			rows = append(rows, []string{strings.TrimSuffix(folder, "/") + "/", "folder", "", "", "", ""})
		}
		for i := range a.Items {
			item := &a.Items[i]
			rows = append(rows, []string{item.Name, item.Type, strconv.Itoa(item.LastVersion), moment(item.Modified), list(item.Tags), item.Description})
		}
		if err := table(w, []string{"NAME", "TYPE", "VERSION", "CHANGED", "TAGS", "DESCRIPTION"}, rows); err != nil {
			return err
		}
		return more(w, a.NextPage)
	})
	return c.Command
}

func newUpdateItem() *cobra.Command {
	var q v2.UpdateItem
	c := newCall("update-item", "Change an item's name, description or tags", "  gatepass update-item -n /demo/app/db-password --new-name /demo/db/password --add-tag db")
	f := c.Flags()
	f.StringVarP(&q.Name, "name", "n", "", "name of the item")
	f.StringVar(&q.NewName, "new-name", "", "rename it")
	addDescription(f, &q.Description)
	addList(f, &q.AddTag, "add-tag", "tag to add")
	addList(f, &q.RmTag, "rm-tag", "tag to remove")
	c.need("name")
	handle(c, "update-item", &q, &q.Credentials, sentence[v2.Updated]("Item %s was changed.", &q.Name))
	return c.Command
}

func newDeleteItem() *cobra.Command {
	var q v2.DeleteItem
	c := newCall("delete-item", "Delete an item with all of its versions", "  gatepass delete-item -n /demo/app/db-password")
	c.Flags().StringVarP(&q.Name, "name", "n", "", "name of the item")
	c.need("name")
	handle(c, "delete-item", &q, &q.Credentials, sentence[v2.DeletedItem]("Item %s was deleted.", &q.Name))
	return c.Command
}
