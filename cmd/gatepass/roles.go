package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	v2 "github.com/gatepass/gatepass/gateway/v2"
)

// newRoleCommands are the commands about roles, their rules and who has them.
func newRoleCommands() []*cobra.Command {
	return []*cobra.Command{
		newCreateRole(), newUpdateRole(), newGetRole(), newListRoles(), newDeleteRole(),
		newSetRoleRule(), newDeleteRoleRule(),
		newAssociate(), newUpdateAssociation(), newDeleteAssociation(),
		newDescribePermissions(),
	}
}

func newCreateRole() *cobra.Command {
	var q v2.CreateRole
	c := newCall("create-role", "Create a role, without rules", `  gatepass create-role -n app-reader --description "reads what the app needs"`)
	c.Flags().StringVarP(&q.Name, "name", "n", "", "name of the role")
	c.Flags().StringVar(&q.Description, "description", "", "what it is for")
	mayBeEmpty(c.Flags(), "description")
	c.need("name")
	handle(c, "create-role", &q, &q.Credentials, sentence[v2.Named]("Role %s was created.", &q.Name))
	return c.Command
}

func newUpdateRole() *cobra.Command {
	var q v2.UpdateRole
	c := newCall("update-role", "Change a role's name or description", "  gatepass update-role -n app-reader --new-name apps/reader")
	c.Flags().StringVarP(&q.Name, "name", "n", "", "name of the role")
	c.Flags().StringVar(&q.NewName, "new-name", "", "rename it")
	addDescription(c.Flags(), &q.Description)
	c.need("name")
	handle(c, "update-role", &q, &q.Credentials, sentence[v2.Updated]("Role %s was changed.", &q.Name))
	return c.Command
}

func newGetRole() *cobra.Command {
	var q v2.GetRole
	c := newCall("get-role", "Show a role, its rules and who has it", "  gatepass get-role -n app-reader --json")
	c.Flags().StringVarP(&q.Name, "name", "n", "", "name of the role")
	c.need("name")
	handle(c, "get-role", &q, &q.Credentials, func(w io.Writer, r *v2.Role) error {
		properties := []property{{"Name", r.Name}, {"Description", r.Description}}
		for _, rule := range r.Rules.PathRules {
			properties = append(properties, property{"Rule", fmt.Sprintf("%s %s: %s", rule.Type, rule.Path, list(rule.Capabilities))})
		}
		for _, m := range r.Methods {
			properties = append(properties, property{"Auth method", withClaims(m.MethodName, m.AssocID, m.SubClaims)})
		}
		return describe(w, append(properties,
			property{"Created", moment(r.Created)},
			property{"Changed", moment(r.Modified)},
			property{"From the configuration file", yes(r.FromFile)},
		)...)
	})
	return c.Command
}

func newListRoles() *cobra.Command {
	var q v2.ListRoles
	c := newCall("list-roles", "List roles", "  gatepass list-roles --filter app")
	addPaging(c, &q.Paging)
	handle(c, "list-roles", &q, &q.Credentials, func(w io.Writer, a *v2.RoleList) error {
		rows := make([][]string, 0, len(a.Roles))
		for i := range a.Roles {
			r := &a.Roles[i]
			rows = append(rows, []string{r.Name, strconv.Itoa(len(r.Rules.PathRules)), r.Description})
		}
		if err := table(w, []string{"NAME", "RULES", "DESCRIPTION"}, rows); err != nil {
			return err
		}
		return more(w, a.NextPage)
	})
	return c.Command
}

func newDeleteRole() *cobra.Command {
	var q v2.DeleteRole
	c := newCall("delete-role", "Delete a role; nobody has it any more", "  gatepass delete-role -n app-reader")
	c.Flags().StringVarP(&q.Name, "name", "n", "", "name of the role")
	c.need("name")
	handle(c, "delete-role", &q, &q.Credentials, sentence[v2.Nothing]("Role %s was deleted.", &q.Name))
	return c.Command
}

// The words that flags of rules are completed with.
func ruleTypes() []string { return []string{v2.DefaultRuleType, "role-rule", "auth-method-rule"} }

func newSetRoleRule() *cobra.Command {
	var q v2.SetRoleRule
	c := newCall("set-role-rule", "Say what a role may do on a path", `  gatepass set-role-rule --role-name app-reader --path '/demo/app/*' --capability read --capability list`)
	c.Long = `Give a role capabilities on a path, or deny them. It replaces the role's rule for
the same path and rule type. In paths, * is any text and + one segment, and
{{claim}} stands for a sub-claim of the session.`
	f := c.Flags()
	f.StringVar(&q.RoleName, "role-name", "", "name of the role")
	f.StringVar(&q.Path, "path", "", "path that the rule is for")
	addList(f, &q.Capabilities, "capability", "read, create, update, delete, list or deny")
	f.StringVar(&q.RuleType, "rule-type", "", "what the path names: item-rule, role-rule or auth-method-rule (default item-rule)")
	c.need("role-name", "path", "capability")
	completeWith(c.Command, "capability", "read", "create", "update", "delete", "list", "deny")
	completeWith(c.Command, "rule-type", ruleTypes()...)
	handle(c, "set-role-rule", &q, &q.Credentials, func(w io.Writer, _ *v2.Nothing) error {
		_, err := fmt.Fprintf(w, "Role %s now has %s on %s.\n", cell(q.RoleName), strings.Join(q.Capabilities, ", "), cell(q.Path))
		return err
	})
	return c.Command
}

func newDeleteRoleRule() *cobra.Command {
	var q v2.DeleteRoleRule
	c := newCall("delete-role-rule", "Take a rule off a role", "  gatepass delete-role-rule --role-name app-reader --path '/demo/app/*'")
	f := c.Flags()
	f.StringVar(&q.RoleName, "role-name", "", "name of the role")
	f.StringVar(&q.Path, "path", "", "path of the rule")
	f.StringVar(&q.RuleType, "rule-type", "", "type of the rule (default item-rule)")
	c.need("role-name", "path")
	completeWith(c.Command, "rule-type", ruleTypes()...)
	handle(c, "delete-role-rule", &q, &q.Credentials, sentence[v2.DeletedRoleRule]("Role %s has no rule for %s any more.", &q.RoleName, &q.Path))
	return c.Command
}

const subClaimsHelp = `With sub-claims, only who has all of them gets the role. A claim's patterns have
commas between them, one of which must match; * and ? are wildcards.`

func newAssociate() *cobra.Command {
	var q v2.AssocRoleAuthMethod
	c := newCall("assoc-role-am", "Give a role to an auth method, or to some of those who log in by it", `  gatepass assoc-role-am --role-name app-reader --am-name my-k8s-auth-method \
    --sub-claims namespace=my-namespace-a --sub-claims service_account_name=web,worker`)
	c.Long = "Give a role to those who log in by an auth method.\n\n" + subClaimsHelp
	f := c.Flags()
	f.StringVar(&q.RoleName, "role-name", "", "name of the role")
	f.StringVar(&q.MethodName, "am-name", "", "name of the auth method")
	f.Var(subClaimsFlag{&q.SubClaims}, "sub-claims", "claim and what it must be (repeatable)")
	addBool(f, &q.CaseSensitive.Bool, "case-sensitive", "whether case counts in sub-claims (default true)")
	c.need("role-name", "am-name")
	handle(c, "assoc-role-am", &q, &q.Credentials, func(w io.Writer, a *v2.Association) error {
		_, err := fmt.Fprintf(w, "Auth method %s now has the role %s.\n- Association ID: %s\n", cell(q.MethodName), cell(q.RoleName), cell(a.AssocID))
		return err
	})
	return c.Command
}

func newUpdateAssociation() *cobra.Command {
	var q v2.UpdateAssoc
	c := newCall("update-assoc", "Replace the sub-claims of an association", "  gatepass update-assoc --assoc-id $ASSOC_ID --sub-claims namespace=my-namespace-a,my-namespace-b")
	c.Long = "Replace the sub-claims of an association by those given, none included.\n\n" + subClaimsHelp
	f := c.Flags()
	f.StringVar(&q.AssocID, "assoc-id", "", "id of the association; get-role shows it")
	f.Var(subClaimsFlag{&q.SubClaims}, "sub-claims", "claim and what it must be (repeatable)")
	addBool(f, &q.CaseSensitive.Bool, "case-sensitive", "whether case counts in sub-claims (default true)")
	c.need("assoc-id")
	handle(c, "update-assoc", &q, &q.Credentials, sentence[v2.Nothing]("Association %s was changed.", &q.AssocID))
	return c.Command
}

func newDeleteAssociation() *cobra.Command {
	var q v2.DeleteAssoc
	c := newCall("delete-assoc", "Take a role from an auth method", "  gatepass delete-assoc --assoc-id $ASSOC_ID")
	c.Flags().StringVar(&q.AssocID, "assoc-id", "", "id of the association; get-role shows it")
	c.need("assoc-id")
	handle(c, "delete-assoc", &q, &q.Credentials, sentence[v2.Nothing]("Association %s was deleted.", &q.AssocID))
	return c.Command
}

func newDescribePermissions() *cobra.Command {
	var q v2.DescribePermissions
	c := newCall("describe-permissions", "Show what the session may do on a path", "  gatepass describe-permissions --path /demo/app/db-password")
	c.Flags().StringVar(&q.Path, "path", "", "path to ask about")
	c.Flags().StringVar(&q.Type, "type", "item", "what the path names: item, role or am (auth method)")
	c.need("path")
	completeWith(c.Command, "type", "item", "role", "am")
	handle(c, "describe-permissions", &q, &q.Credentials, func(w io.Writer, a *v2.Permissions) error {
		may := list(a.ClientPermissions)
		if may == "" {
			may = "nothing"
		}
		_, err := fmt.Fprintln(w, cell(may))
		return err
	})
	return c.Command
}
