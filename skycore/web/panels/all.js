/** Every panel, each registering itself; one line for each module. */

import './summary.js';
import './details/metrics.js';
import './details/captures.js';
import './details/network.js';
import './details/flows.js';
import './details/rules.js';
import './details/sockets.js';
import './details/metadata.js';
import './details/revisions.js';
import './flows/flows.js';
import './captures/captures.js';
import './console/console.js';
import './actions/injection.js';
import './actions/rules.js';
import './status/status.js';
import './plugins.js';
