package command

import (
	"github.com/gatepass/gatepass/gateway/catalog"
	v2 "github.com/gatepass/gatepass/gateway/v2"
)

// pageSize is how many objects an answer has at most, if the caller wants
// pages. It is that of the original API.
const pageSize = 1000

// pageOf is what part of a list a request wants. Who asks for no pages gets
// everything: one widely used client never looks at next_page.
func pageOf(p *v2.Paging) (catalog.Page, error) {
	switch p.AutoPagination {
	case "", v2.PaginationEnabled, v2.PaginationDisabled:
	default:
		return catalog.Page{}, invalid("auto-pagination", "use %s or %s", v2.PaginationEnabled, v2.PaginationDisabled)
	}
	page := catalog.Page{After: p.PaginationToken}
	if p.PaginationToken != "" || p.AutoPagination == v2.PaginationDisabled {
		page.Limit = pageSize
	}
	return page, nil
}
