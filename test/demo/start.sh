#!/bin/sh
# What `make run` does once all is built: says what to type, and becomes the daemon. The lines between the empty ones can be pasted as they are.
set -eu

quoted() { printf "'%s'" "$(printf %s "$1" | sed "s/'/'\\\\''/g")"; }

# As .env.dev.local comes, the admin door is a socket, which no browser opens: so here it has a port too.
page=''
if [ "${ADMIN-$(sed -n 's/^ADMIN=//p' ".env.${environment:-dev}.local")}" = ./admin.sock ]; then
  port=$(node -e '
    const listen = (port) => net.createServer().on("error", () => listen(port + 1)).listen(port, "127.0.0.1", function () { console.log(port); this.close(); });
    listen(9090);')
  export ADMIN="127.0.0.1:$port,./admin.sock"
  page=http://127.0.0.1:$port/
fi

cat <<END

Once it listens, in another terminal:

  cd $(quoted "$PWD")
  node dist/main.js send requests 'hello' user-7
  sleep 2
  node dist/main.js inspect data/requests
  node dist/main.js status

They send a frame, wait until its batch closes, show it in its file, and how the daemon is.
Live: "node dist/main.js top" (what flows) and "node dist/main.js tail requests" (frames as they pass).
END
[ -z "$page" ] || echo "The status page: $page"
echo 'With Kafka: "make kafka" starts one, and says what to change in buckets.json. Ctrl-C here ends the daemon.'
echo
exec node dist/main.js
