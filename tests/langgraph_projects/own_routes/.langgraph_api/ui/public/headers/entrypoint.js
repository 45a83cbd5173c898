var __LGUI_headers = { render: (name, shadowRootId) => document.getElementById(shadowRootId).shadowRoot.append(name) };
